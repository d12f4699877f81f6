// A transcript as a value: lines of words [text, start, end, probability]. Every change is a new value.

let nextId = 1;
const newId = () => `l${nextId++}`;
export const countIdsFrom = (lines) => {
	for (const l of lines) nextId = Math.max(nextId, Number(l.id.slice(1)) + 1 || 1);
};

export const lineText = (line) => line.words.map((w) => w[0]).join('').trim();
export const fullText = (lines) => lines.map(lineText).join(' ');

export function makeLine(start, end, words, who = '') {
	return { id: newId(), start, end, who, words };
}

// verbose_json -> lines. Without word times, they are spread by length.
export function linesFrom(answer) {
	const words = (answer.words ?? []).map((w) => [w.x_text ?? ` ${w.word}`, w.start, w.end, w.x_probability ?? 1]);
	let next = 0;
	return (answer.segments ?? []).filter((s) => s.text.trim()).map((s) => {
		const own = [];
		let length = 0;
		while (next < words.length && length < s.text.length && words[next][1] < s.end + 0.5) {
			length += words[next][0].length;
			own.push(words[next++]);
		}
		const whole = own.length && own.map((w) => w[0]).join('').trim() === s.text.trim();
		const said = whole ? own : spread(s.text, s.start, s.end, sureness(s.avg_logprob));
		return makeLine(s.start, s.end, said, s.x_speaker ?? s.speaker ?? '');
	});
}

const sureness = (logprob) => (logprob === undefined ? 1 : Math.exp(Math.min(0, logprob)));

export const pieces = (text) => text.match(/\s*\S+/g) ?? [];

export function spread(text, start, end, probability = 1) {
	const parts = pieces(text);
	const total = parts.reduce((n, p) => n + p.trim().length + 1, 0) || 1;
	let at = start;
	return parts.map((part) => {
		const stop = at + ((end - start) * (part.trim().length + 1)) / total;
		const word = [part, round(at), round(stop), probability];
		at = stop;
		return word;
	});
}

const round = (s) => Math.round(s * 1000) / 1000;

// The line with another text: words that stay keep their times, new ones fill the gap they are in.
export function retold(line, text) {
	const old = line.words;
	const parts = pieces(text.replace(/\s+/g, ' ').trim()).map((p, i) => (i || /^\s/.test(old[0]?.[0] ?? ' ') ? ` ${p.trim()}` : p.trim()));
	const kept = common(old.map((w) => w[0].trim()), parts.map((p) => p.trim()));
	const words = [];
	let o = 0;
	let n = 0;
	for (const [i, j] of [...kept, [old.length, parts.length]]) {
		if (n < j) {
			const start = o < i ? old[o][1] : words.length ? words.at(-1)[2] : line.start;
			const end = o < i ? old[i - 1][2] : i < old.length ? old[i][1] : line.end;
			words.push(...spread(parts.slice(n, j).join(''), start, Math.max(start, end)));
		}
		if (j < parts.length) words.push([parts[j], ...old[i].slice(1)]);
		[o, n] = [i + 1, j + 1];
	}
	return { ...line, words };
}

// Pairs of a longest common subsequence.
function common(a, b) {
	const best = Array.from({ length: a.length + 1 }, () => new Uint16Array(b.length + 1));
	for (let i = a.length - 1; i >= 0; i--)
		for (let j = b.length - 1; j >= 0; j--)
			best[i][j] = a[i] === b[j] ? best[i + 1][j + 1] + 1 : Math.max(best[i + 1][j], best[i][j + 1]);
	const pairs = [];
	for (let i = 0, j = 0; i < a.length && j < b.length;) {
		if (a[i] === b[j]) pairs.push([i++, j++]);
		else if (best[i + 1][j] >= best[i][j + 1]) i++;
		else j++;
	}
	return pairs;
}

// Cut a line in two before the word at `at`.
export function split(lines, index, at) {
	const line = lines[index];
	if (at <= 0 || at >= line.words.length) return lines;
	const head = { ...line, end: line.words[at - 1][2], words: line.words.slice(0, at) };
	const tail = makeLine(line.words[at][1], line.end, line.words.slice(at), line.who);
	return lines.toSpliced(index, 1, head, tail);
}

export function join(lines, index) {
	const [a, b] = [lines[index], lines[index + 1]];
	if (!a || !b) return lines;
	const [first, ...rest] = b.words;
	const spaced = first && !/^\s/.test(first[0]) ? [[` ${first[0]}`, ...first.slice(1)], ...rest] : b.words;
	return lines.toSpliced(index, 2, { ...a, end: Math.max(a.end, b.end), words: [...a.words, ...spaced] });
}

// Nothing moves before the beginning.
export function shift(lines, index, seconds, { following = false } = {}) {
	const by = Math.max(seconds, -lines[index].start);
	const move = (l) => ({
		...l, start: round(l.start + by), end: round(l.end + by),
		words: l.words.map(([w, s, e, p]) => [w, round(s + by), round(e + by), p]),
	});
	return lines.map((l, i) => (i === index || (following && i > index) ? move(l) : l));
}

export const erase = (lines, index) => lines.toSpliced(index, 1);
export const replaceLine = (lines, index, ...others) => lines.toSpliced(index, 1, ...others);

// `everywhere` renames whoever it was in all lines.
export function nameSpeaker(lines, index, name, { everywhere = false } = {}) {
	const before = lines[index].who;
	return lines.map((l, i) => (i === index || (everywhere && before && l.who === before) ? { ...l, who: name } : l));
}

const escaped = (text) => text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&');

// [line, first character, last character] of each place.
export function findAll(lines, query, { exact = false } = {}) {
	if (!query) return [];
	const wanted = new RegExp(escaped(query), exact ? 'gu' : 'giu');
	return lines.flatMap((line, i) => Array.from(lineText(line).matchAll(wanted), (m) => [i, m.index, m.index + m[0].length]));
}

export function replaceAll(lines, query, by, { exact = false } = {}) {
	const wanted = new RegExp(escaped(query), exact ? 'gu' : 'giu');
	return lines.map((line) => {
		const text = lineText(line);
		const changed = text.replace(wanted, () => by);
		return changed === text ? line : retold(line, changed);
	}).filter((line) => line.words.length);
}

export function lineAt(lines, time) {
	let [low, high] = [0, lines.length];
	while (low < high) {
		const middle = (low + high) >> 1;
		if (lines[middle].start <= time) low = middle + 1;
		else high = middle;
	}
	return low - 1;
}

export function wordAt(line, time) {
	let found = -1;
	for (let i = 0; i < line.words.length && line.words[i][1] <= time + 0.02; i++) found = i;
	return found;
}

// Where each word begins in the line's text, and where the text ends.
export function wordPlaces(line) {
	const lead = (line.words[0]?.[0] ?? '').match(/^\s*/)[0].length;
	let at = -lead;
	const places = line.words.map(([text]) => {
		const begin = at + text.match(/^\s*/)[0].length;
		at += text.length;
		return [begin, begin + text.trim().length];
	});
	return places;
}

export class Steps {
	#back = [];
	#forth = [];
	constructor(value) { this.value = value; }
	take(value, what = '') {
		if (value === this.value) return false;
		this.#back.push([this.value, what]);
		if (this.#back.length > 300) this.#back.shift();
		this.#forth = [];
		this.value = value;
		return true;
	}
	undo() { return this.#go(this.#back, this.#forth); }
	redo() { return this.#go(this.#forth, this.#back); }
	#go(from, to) {
		if (!from.length) return null;
		const [value, what] = from.pop();
		to.push([this.value, what]);
		this.value = value;
		return what || ' ';
	}
}
