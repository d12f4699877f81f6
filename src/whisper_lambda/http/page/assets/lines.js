// Lines on the page, however many: one text node each, words told apart by ranges, never by elements.
// Highlights (the spoken word, doubtful words, finds) paint without changing the document.

import { fill, h, inPieces } from './dom.js';
import { lineText, wordPlaces } from './transcript.js';
import { clock, t } from './words.js';

export const DOUBTFUL = 0.5; // of a word's probability
const REASONS = () => ({
	silence: t('silence'), no_speech: t('no speech'), low_confidence: t('too unsure'), repetition: t('repetition'), known_phrase: t('a phrase models invent'),
});

const paint = {};
for (const name of ['spoken', 'doubtful', 'found']) {
	paint[name] = 'Highlight' in globalThis ? new Highlight() : new Set();
	globalThis.CSS?.highlights?.set(name, paint[name]);
}

export class Lines {
	#nodes = new Map(); // id -> li
	#shown = new Map(); // id -> the line it shows
	#seen = new Set(); // li near the screen
	#doubts = new Map(); // li -> its ranges

	constructor(doc) {
		this.doc = doc;
		this.list = h('ol.lines', { 'aria-label': t('Transcript') });
		this.eye = new IntersectionObserver((entries) => this.#looked(entries), { rootMargin: '50% 0px' });
		for (const set of Object.values(paint)) set.clear();
	}

	node(id) { return this.#nodes.get(id); }
	text(id) { return this.#nodes.get(id)?.querySelector('.said'); }

	// Lines, and between them what was left out; the first time in pieces.
	async show(lines, signal) {
		const wanted = this.#sequence(lines);
		const first = !this.#nodes.size;
		const ids = new Set(wanted.map((w) => w.id));
		for (const [id, node] of this.#nodes) if (!ids.has(id)) this.#drop(id, node);
		if (first) {
			await inPieces(wanted, (w) => this.list.append(this.#made(w)), { signal });
			return;
		}
		let cursor = this.list.firstElementChild;
		for (const w of wanted) {
			const node = this.#made(w);
			if (node === cursor) cursor = cursor.nextElementSibling;
			else this.list.insertBefore(node, cursor);
		}
	}

	#sequence(lines) {
		const left = this.doc.dropped
			.filter((d) => d.reason !== 'silence' || d.end - d.start >= 5)
			.map((d) => ({ id: `x${d.start}-${d.end}-${d.reason}`, start: d.start, end: d.end, reason: d.reason }));
		if (!left.length) return lines;
		let next = 0;
		const all = [];
		for (const line of lines) {
			while (next < left.length && left[next].start <= line.start) all.push(left[next++]);
			all.push(line);
		}
		return [...all, ...left.slice(next)];
	}

	#drop(id, node) {
		this.#unmark(node);
		this.eye.unobserve(node);
		this.#seen.delete(node);
		node.remove();
		this.#nodes.delete(id);
		this.#shown.delete(id);
	}

	#made(line) {
		const known = this.#nodes.get(line.id);
		if (known && (line.reason || this.#shown.get(line.id) === line)) return known;
		const node = known ?? h('li', { 'data-id': line.id, className: line.reason ? 'line left' : 'line' });
		if (!known) this.#nodes.set(line.id, node);
		if (line.reason) this.#left(node, line);
		else this.#write(node, line);
		this.#shown.set(line.id, line);
		if (!known && !line.reason) this.eye.observe(node);
		else if (this.#seen.has(node)) this.#mark(node);
		return node;
	}

	#left(node, { start, end, reason }) {
		fill(node, h('button.at', { tabIndex: -1, 'data-from': start, 'data-until': end }, clock(start)),
			h('p', t('{n} s left out: {why}', { n: Math.round((end - start) * 10) / 10, why: REASONS()[reason] ?? reason })));
	}

	#write(node, line) {
		const at = node.querySelector('.at');
		const said = node.querySelector('.said');
		if (!at) {
			fill(node, h('button.at', { tabIndex: -1 }, clock(line.start)),
				h('div.body', line.who ? this.#who(line) : null,
					h('p.said', { dir: 'auto', lang: this.doc.language }, lineText(line))));
			return;
		}
		at.textContent = clock(line.start);
		const who = node.querySelector('.who');
		if (!line.who) who?.remove();
		else if (who) who.replaceWith(this.#who(line));
		else said.before(this.#who(line));
		said.textContent = lineText(line);
	}

	#who(line) {
		return h('button.who', { tabIndex: -1, dir: 'auto' }, line.who);
	}

	#looked(entries) {
		for (const { target, isIntersecting } of entries) {
			if (isIntersecting) {
				this.#seen.add(target);
				this.#mark(target);
			} else if (this.#seen.delete(target)) this.#unmark(target);
		}
	}

	#mark(node) {
		this.#unmark(node);
		const line = this.#shown.get(node.dataset.id);
		if (!line?.words) return;
		const places = wordPlaces(line);
		const ranges = line.words.flatMap((w, i) => (w[3] < DOUBTFUL ? this.range(line, ...places[i]) ?? [] : []));
		ranges.forEach((r) => paint.doubtful.add(r));
		this.#doubts.set(node, ranges);
	}

	#unmark(node) {
		this.#doubts.get(node)?.forEach((r) => paint.doubtful.delete(r));
		this.#doubts.delete(node);
	}

	range(line, begin, end) {
		const text = this.text(line.id)?.firstChild;
		if (!text || text.nodeType !== Node.TEXT_NODE) return null;
		const stop = Math.min(end, text.length);
		return new StaticRange({ startContainer: text, startOffset: Math.min(begin, stop), endContainer: text, endOffset: stop });
	}

	speak(line, index) {
		paint.spoken.clear();
		if (!line || index < 0) return;
		const range = this.range(line, ...wordPlaces(line)[index]);
		if (range) paint.spoken.add(range);
	}

	find(lines, places) {
		paint.found.clear();
		for (const [i, begin, end] of places.slice(0, 2000)) {
			const range = this.range(lines[i], begin, end);
			if (range) paint.found.add(range);
		}
	}

	close() {
		this.eye.disconnect();
		for (const set of Object.values(paint)) set.clear();
	}
}

// The character of a text node at a point of the screen, -1 where there is none.
export function characterAt(x, y, inside) {
	const at = document.caretPositionFromPoint?.(x, y);
	const range = at ? null : document.caretRangeFromPoint?.(x, y);
	const [node, offset] = at ? [at.offsetNode, at.offset] : [range?.startContainer, range?.startOffset];
	return node && inside.contains(node) ? offset : -1;
}
