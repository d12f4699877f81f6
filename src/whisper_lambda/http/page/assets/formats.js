// A transcript -> files. Every format escapes what would break it.

import { lineText } from './transcript.js';

const WIDTH = 42; // characters a subtitle line
const LONGEST_S = 7; // of a cue

export const FORMATS = {
	txt: ['text/plain', txt], srt: ['application/x-subrip', srt], vtt: ['text/vtt', vtt], json: ['application/json', json],
	tsv: ['text/tab-separated-values', tsv], lrc: ['text/plain', lrc], ass: ['text/x-ssa', ass], html: ['text/html', html],
};

export const write = (format, doc) => FORMATS[format][1](doc);

export const fileName = (doc, format) =>
	`${(doc.name.replace(/\.[A-Za-z0-9]{1,5}$/, '') || 'transcript').replace(/[\u0000-\u001f\u007f\u200e\u200f\u202a-\u202e\u2066-\u2069<>:"/\\|?*]/g, '_').slice(0, 80)}.${format}`;

const speaker = (line) => (line.who ? `${line.who}: ` : '');
const oneLine = (text) => text.replace(/\s+/g, ' ').trim();

export function txt(doc) {
	return doc.lines.map((l) => `${oneLine(speaker(l) + lineText(l))}\n`).join('');
}

// Lines cut to what a screen holds: two rows of WIDTH characters, LONGEST_S seconds.
export function cues(lines) {
	const out = [];
	for (const line of lines) {
		let words = [];
		const flush = () => {
			if (words.length) out.push({ start: words[0][1], end: words.at(-1)[2], words, who: line.who, text: oneLine(words.map((w) => w[0]).join('')) });
			words = [];
		};
		for (const word of line.words) {
			const length = words.reduce((n, w) => n + w[0].length, 0) + word[0].length;
			const last = words.at(-1);
			const pause = last && word[1] - last[2] > 1;
			const ended = last && /[.!?…。！？]["'”’»)]*$/.test(last[0]) && length > WIDTH;
			if (last && (length > 2 * WIDTH || word[2] - words[0][1] > LONGEST_S || pause || ended)) flush();
			words.push(word);
		}
		flush();
	}
	out.sort((a, b) => a.start - b.start);
	out.forEach((cue, i) => {
		cue.end = Math.max(cue.end, cue.start + 0.3);
		const next = out[i + 1];
		if (next && next.start < cue.end && next.who === cue.who) cue.end = Math.max(cue.start + 0.05, next.start);
	});
	return out;
}

function rows(text) {
	if (text.length <= WIDTH) return text;
	const gaps = [...text.matchAll(/\s/g)].map((m) => m.index);
	if (!gaps.length) return text;
	const middle = gaps.reduce((best, at) => (Math.abs(at - text.length / 2) < Math.abs(best - text.length / 2) ? at : best));
	return `${text.slice(0, middle)}\n${text.slice(middle + 1)}`;
}

const pad = (n, digits = 2) => String(n).padStart(digits, '0');
function stamp(seconds, mark) {
	const ms = Math.round(seconds * 1000);
	return `${pad(Math.floor(ms / 3_600_000))}:${pad(Math.floor(ms / 60_000) % 60)}:${pad(Math.floor(ms / 1000) % 60)}${mark}${pad(ms % 1000, 3)}`;
}

export function srt(doc) {
	const calm = (text) => rows(text.replaceAll('-->', '→'));
	return cues(doc.lines).map((c, i) => `${i + 1}\n${stamp(c.start, ',')} --> ${stamp(c.end, ',')}\n${calm(speaker(c) + c.text)}\n\n`).join('');
}

const marked = (text) => text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');

export function vtt(doc) {
	const cue = (c) => {
		const voice = c.who ? `<v ${marked(oneLine(c.who))}>` : '';
		return `${stamp(c.start, '.')} --> ${stamp(c.end, '.')}\n${voice}${marked(rows(c.text))}\n\n`;
	};
	return `WEBVTT\n\n${cues(doc.lines).map(cue).join('')}`;
}

export function json(doc) {
	const words = (l) => l.words.map(([word, start, end, probability]) => ({ word, start, end, probability }));
	return JSON.stringify({
		task: doc.task, language: doc.language, duration: doc.duration, name: doc.name, model: doc.model,
		text: doc.lines.map(lineText).join(' '),
		segments: doc.lines.map((l, id) => ({ id, start: l.start, end: l.end, text: lineText(l), ...(l.who && { speaker: l.who }), words: words(l) })),
		dropped: doc.dropped,
	}, null, 1) + '\n';
}

export function tsv(doc) {
	const row = (l) => `${Math.round(l.start * 1000)}\t${Math.round(l.end * 1000)}\t${oneLine(speaker(l) + lineText(l)).replace(/^"/, '“')}\n`;
	return `start\tend\ttext\n${doc.lines.map(row).join('')}`;
}

export function lrc(doc) {
	const at = (s) => `[${pad(Math.floor(s / 60))}:${pad(Math.floor(s % 60))}.${pad(Math.floor((s * 100) % 100))}]`;
	return cues(doc.lines).map((c) => `${at(c.start)}${c.text.replace(/^\[/, '［')}\n`).join('');
}

export function ass(doc) {
	const at = (s) => `${Math.floor(s / 3600)}:${pad(Math.floor(s / 60) % 60)}:${pad(Math.floor(s % 60))}.${pad(Math.floor((s * 100) % 100))}`;
	const safe = (text) => text.replaceAll('\\', '⧵').replaceAll('{', '(').replaceAll('}', ')');
	const sung = (c) => c.words.map(([w, s, e], i) => `{\\k${Math.max(0, Math.round(((c.words[i + 1]?.[1] ?? e) - s) * 100))}}${safe(i ? w : w.trimStart())}`).join('');
	const head = '[Script Info]\nScriptType: v4.00+\nPlayResX: 1280\nPlayResY: 720\n\n[V4+ Styles]\nFormat: Name, Fontname, Fontsize, PrimaryColour, SecondaryColour, OutlineColour, BackColour, BorderStyle, Outline, Shadow, Alignment, MarginL, MarginR, MarginV\nStyle: Default,Arial,48,&H00FFFFFF,&H0000A5FF,&H00000000,&H64000000,1,2,1,2,40,40,40\n\n[Events]\nFormat: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text\n';
	return head + cues(doc.lines).map((c) => `Dialogue: 0,${at(c.start)},${at(c.end)},Default,${safe(oneLine(c.who)).replaceAll(',', ';')},0,0,0,,${sung(c)}\n`).join('');
}

// Plain paragraphs and one table of nothing: word processors open it as a document.
export function html(doc) {
	const title = marked(doc.name);
	const line = (l) => `<p><small>${stamp(l.start, '.').slice(0, 8)}</small> ${l.who ? `<b>${marked(l.who)}:</b> ` : ''}${marked(lineText(l))}</p>\n`;
	return `<!doctype html>\n<html lang="${marked(doc.language || '').replaceAll('"', '')}"><head><meta charset="utf-8"><title>${title}</title></head><body>\n<h1>${title}</h1>\n${doc.lines.map(line).join('')}</body></html>\n`;
}
