// The first sheet: recordings in, what becomes of them, what was written before.

import { talks } from './api.js';
import { ask, bdi, fill, h, say, shortened } from './dom.js';
import { canRecord, Recording } from './recording.js';
import { sentence } from './options.js';
import { add, cancel, dismiss, queue, queued, retry, stateText } from './queue.js';
import { askForKey } from './key.js';
import { forget, search } from './store.js';
import { clock, languageName, t, when } from './words.js';

export class Home {
	#rows = new Map(); // id -> { row, update }

	constructor() {
		this.lasting = new AbortController();
		this.list = h('ul.contents.queue', { 'aria-label': t('Being written') });
		this.history = h('ul.contents', { 'aria-label': t('Written') });
		this.node = this.#build();
		queue.addEventListener('change', (e) => this.#changed(e.detail), { signal: this.lasting.signal });
		queued().forEach((item) => this.#changed(item));
	}

	async open() { await this.#find(''); }

	close() {
		this.lasting.abort();
		this.recording?.stop(true);
		for (const item of queued()) if (item.state === 'done') dismiss(item);
	}

	#build() {
		const pick = h('input.unseen', { type: 'file', id: 'pick', multiple: true, accept: 'audio/*,video/*,.opus,.amr,.mka,.mkv', onchange: () => {
			addFiles(pick.files);
			pick.value = '';
		} });
		this.record = h('button', { onclick: () => this.#record() }, t('record'));
		const ways = { pick: h('label.link', { for: 'pick' }, t('choose some')), record: this.record, talk: h('a', { href: '#/talk' }, t('talk and read along')) };
		const words = (talks() ? t('or {pick}, {record}, or {talk}.') : t('or {pick}, or {record}.')).split(/\{(\w+)\}/);
		this.query = h('input', { id: 'query', type: 'search', autocomplete: 'off', oninput: () => this.#find(this.query.value) });
		this.past = h('section.past', { 'aria-labelledby': 'past' },
			h('div.pastline', h('h2', { id: 'past' }, t('Written')), h('label.unseen', { for: 'query' }, t('Find in all transcripts')), this.query),
			this.history);
		this.query.placeholder = t('Find in all transcripts');
		return h('div.home',
			h('section.in',
				h('h1', { tabIndex: -1 }, t('Drop recordings here')),
				h('p.ways-in', pick, words.map((w, i) => (i % 2 ? ways[w] : w))),
				sentence()),
			this.list, this.past);
	}

	#changed(item) {
		let known = this.#rows.get(item.id);
		if (item.state === 'cancelled' || item.state === 'gone') {
			known?.row.remove();
			this.#rows.delete(item.id);
			return;
		}
		if (!known) {
			known = this.#row(item);
			this.#rows.set(item.id, known);
			this.list.append(known.row);
		}
		known.update(item);
		if (item.state === 'done') this.#find(this.query.value);
	}

	#row(item) {
		const name = h('span.name', bdi(item.name));
		const state = h('span.state');
		const bar = h('progress', { max: 1, 'aria-label': t('Progress of {name}', { name: shortened(item.name, 60) }) });
		const acts = h('span.acts');
		const preview = h('p.preview', { dir: 'auto' });
		const row = h('li', { 'data-state': item.state }, h('div.entry', name, h('span.dots'), state), bar, preview, acts);
		let shown = '';
		const update = () => {
			row.dataset.state = item.state;
			state.textContent = stateText(item);
			const share = item.state === 'listening' ? (item.duration ? (item.done ?? 0) / item.duration : undefined) : ['sending', 'packing'].includes(item.state) ? item.share : undefined;
			bar.hidden = ['done', 'failed', 'key', 'waiting'].includes(item.state);
			if (share === undefined) bar.removeAttribute('value');
			else bar.value = share;
			preview.textContent = item.state === 'failed' ? item.error.message : item.state === 'done' ? '' : (item.preview ?? '');
			preview.className = item.state === 'failed' ? 'preview wrong' : 'preview';
			if (shown === item.state) return;
			shown = item.state;
			if (item.state === 'done') say(t('{name} is written.', { name: shortened(item.name, 60) }), { shown: true });
			if (item.state === 'failed') say(t('{name} failed: {why}', { name: shortened(item.name, 60), why: item.error.message }), { alert: true, shown: true });
			fill(acts, this.#acts(item));
		};
		return { row, update };
	}

	#acts(item) {
		const button = (text, work) => h('button', { onclick: work, 'aria-label': `${text}: ${shortened(item.name, 60)}` }, text);
		if (item.state === 'done') return h('a.main', { href: `#/t/${item.doc}`, 'aria-label': `${t('Read')}: ${shortened(item.name, 60)}` }, t('Read'));
		return [
			item.state === 'failed' && button(t('Try again'), () => retry(item)),
			item.state === 'key' && button(t('Give a key'), () => askForKey()),
			button(item.state === 'failed' ? t('Remove') : t('Cancel'), () => cancel(item)),
		];
	}

	async #find(query) {
		const cards = await search(query).catch(() => []);
		this.past.hidden = !cards.length && !query;
		fill(this.history, cards.slice(0, 200).map((card) => h('li',
			h('a.entry', { href: `#/t/${card.id}` }, h('span.name', bdi(card.name)), h('span.dots'),
				h('span.state', clock(card.duration))),
			h('p.preview', h('span', { dir: 'auto' }, card.excerpt)),
			h('span.acts', h('span.small', [languageName(card.language), when(card.created)].filter(Boolean).join(', ')),
				h('button', { 'aria-label': `${t('Forget')}: ${shortened(card.name, 60)}`, onclick: () => this.#forget(card) }, t('Forget'))))));
		if (query && !cards.length) this.history.append(h('li.empty', t('Nothing written here has these words.')));
	}

	async #forget(card) {
		const sure = await ask(t('Forget this transcript?'), t('Forget'), h('p', bdi(card.name)),
			h('p', t('It goes from this browser, recordings too. What you exported stays.')));
		if (!sure) return;
		await forget(card.id);
		this.#find(this.query.value);
	}

	async #record() {
		if (this.recording) {
			const { file, name } = await this.recording.stop();
			this.recording = null;
			this.record.textContent = t('record');
			if (file.size) add(file, { kind: 'record', name });
			return;
		}
		const trouble = canRecord();
		if (trouble) {
			say(trouble, { alert: true });
			return;
		}
		try {
			this.recording = await Recording.start((seconds) => (this.record.textContent = t('stop recording ({time})', { time: clock(seconds) })));
		} catch (cause) {
			say(cause.message, { alert: true });
		}
	}
}

export function addFiles(files) {
	for (const file of files) add(file);
	if (!['', '#/'].includes(location.hash)) location.hash = '#/';
}

export function takeDrops() {
	const carries = (e) => [...(e.dataTransfer?.types ?? [])].includes('Files');
	let depth = 0;
	const over = (on) => document.body.classList.toggle('over', on);
	addEventListener('dragenter', (e) => carries(e) && (++depth, over(true)));
	addEventListener('dragleave', (e) => carries(e) && --depth <= 0 && (depth = 0, over(false)));
	addEventListener('dragover', (e) => carries(e) && e.preventDefault());
	addEventListener('drop', (e) => {
		if (!carries(e)) return;
		e.preventDefault();
		depth = 0;
		over(false);
		addFiles(e.dataTransfer.files);
	});
	addEventListener('paste', (e) => {
		const files = [...(e.clipboardData?.files ?? [])].filter((f) => /^(audio|video)\//.test(f.type) || !f.type);
		if (files.length) {
			e.preventDefault();
			addFiles(files);
		}
	});
}

