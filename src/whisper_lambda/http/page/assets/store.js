// What this browser keeps: transcripts, their audio, files still to be heard.

const STORES = ['transcripts', 'audio', 'queue', 'cards'];
let opening;

function open() {
	opening ??= new Promise((resolve, reject) => {
		const asked = indexedDB.open('whisper-lambda', 1);
		asked.onupgradeneeded = () => STORES.forEach((name) => asked.result.createObjectStore(name));
		asked.onsuccess = () => resolve(asked.result);
		asked.onerror = () => reject(asked.error);
	});
	return opening;
}

async function run(mode, name, work) {
	const base = await open();
	return new Promise((resolve, reject) => {
		const deal = base.transaction(name, mode);
		const asked = work(deal.objectStore(name));
		deal.oncomplete = () => resolve(asked?.result);
		deal.onerror = deal.onabort = () => reject(deal.error ?? new Error('storage'));
	});
}

export const get = (store, id) => run('readonly', store, (s) => s.get(id));
export const put = (store, id, value) => run('readwrite', store, (s) => s.put(value, id));
export const remove = (store, id) => run('readwrite', store, (s) => s.delete(id));
export const all = (store) => run('readonly', store, (s) => s.getAll());
export const clear = (store) => run('readwrite', store, (s) => s.clear());

// A transcript and its card, so that lists and searches never load the whole.
export async function keep(doc) {
	await put('transcripts', doc.id, doc);
	const text = doc.lines.map((l) => l.words.map((w) => w[0]).join('')).join(' ');
	const { id, name, created, duration, language, kind } = doc;
	await put('cards', id, { id, name, created, duration, language, kind, text });
}

// All words anywhere, accents and case ignored; newest first, with what surrounds the find.
export async function search(query) {
	const cards = (await all('cards')).sort((a, b) => b.created - a.created);
	const wanted = plain(query).split(/\s+/).filter(Boolean);
	if (!wanted.length) return cards.map((card) => ({ ...card, text: undefined, excerpt: card.text.slice(0, 240) }));
	const found = [];
	for (const card of cards) {
		const whole = plain(`${card.name} ${card.text}`);
		if (!wanted.every((w) => whole.includes(w))) continue;
		const at = Math.max(0, plain(card.text).indexOf(wanted[0]) - 40);
		found.push({ ...card, text: undefined, excerpt: (at ? '…' : '') + card.text.slice(at, at + 240) });
	}
	return found;
}

// One character for one, so that places in the plain text are places in the text.
export const plain = (text) => text.replace(/[^\x00-\x7f]/g, (c) => c.normalize('NFD')[0]).toLowerCase();

export async function forget(id) {
	await Promise.all(['transcripts', 'audio', 'cards'].map((store) => remove(store, id)));
}

export const forgetAll = () => Promise.all(STORES.map(clear));
