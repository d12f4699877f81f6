// What was asked of the server, as a command and as code; and what the answer cost.

import { dialog, h } from './dom.js';
import { copy } from './out.js';
import { number, t } from './words.js';

const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;
const shown = (name) => name.replace(/[\u0000-\u001f\u007f\u202a-\u202e\u2066-\u2069]/g, '_');
const unstreamed = (fields) => fields.filter(([name]) => name !== 'stream');

export function curl({ request, name }) {
	const lines = [`curl ${location.origin}${request.route}`, '-H "Authorization: Bearer $WHISPER_LAMBDA_KEY"',
		`-F ${quoted(`file=@"${shown(name).replace(/["\\]/g, '\\$&')}"`)}`, ...unstreamed(request.fields).map(([n, v]) => `-F ${quoted(`${n}=${v}`)}`)];
	return lines.join(' \\\n  ');
}

function grouped(fields) {
	const values = {};
	for (const [name, value] of unstreamed(fields)) {
		if (name.endsWith('[]')) (values[name.slice(0, -2)] ??= []).push(value);
		else values[name] = value;
	}
	return values;
}

const KNOWN = ['model', 'language', 'prompt', 'response_format', 'timestamp_granularities'];
const apart = (values) => [
	Object.entries(values).filter(([n]) => KNOWN.includes(n)), Object.fromEntries(Object.entries(values).filter(([n]) => !KNOWN.includes(n))),
];

const call = ({ request }) => `client.audio.${request.route.endsWith('translations') ? 'translations' : 'transcriptions'}.create`;

export function python(doc) {
	const [known, extra] = apart(grouped(doc.request.fields));
	const more = Object.keys(extra).length ? [['extra_body', extra]] : [];
	const fields = [...known, ...more].map(([n, v]) => `    ${n}=${JSON.stringify(v)},\n`).join('');
	return `from openai import OpenAI\n\nclient = OpenAI(base_url="${location.origin}/v1", api_key="...")\nanswer = ${call(doc)}(\n    file=open(${JSON.stringify(shown(doc.name))}, "rb"),\n${fields})\nprint(answer.text)\n`;
}

export function javascript(doc) {
	const fields = Object.entries(grouped(doc.request.fields)).map(([n, v]) => `  ${n}: ${JSON.stringify(v)},\n`).join('');
	return `import fs from "node:fs";\nimport OpenAI from "openai";\n\nconst client = new OpenAI({ baseURL: "${location.origin}/v1", apiKey: "..." });\nconst answer = await ${call(doc)}({\n  file: fs.createReadStream(${JSON.stringify(shown(doc.name))}),\n${fields}});\nconsole.log(answer.text);\n`;
}

export function requestDialog(doc) {
	const ways = { curl, Python: python, JavaScript: javascript };
	const text = h('pre', { tabIndex: 0 }, curl(doc));
	return dialog(t('The request'), () => [
		h('p', t('What this page asked, for a terminal or a program. The key is not in it.')),
		h('p.ways', Object.entries(ways).map(([name, write], i) => h('label.check',
			h('input', { type: 'radio', name: 'way', checked: !i, onchange: () => (text.textContent = write(doc)) }), name))),
		text,
	], { wide: true, verbs: () => h('button.main', { onclick: () => copy(text.textContent) }, t('Copy')) });
}

export function receiptDialog({ receipt: r, model }) {
	const seconds = (s) => t('{n} s', { n: number(s ?? 0, 2) });
	const rows = [
		[t('Recording'), seconds(r.audio_s)],
		[t('Waited for its turn'), seconds(r.queue_s)],
		[t('Loading the model'), seconds(r.init_s)],
		[t('Reading the file'), seconds(r.decode_s)],
		[t('Hearing it'), seconds(r.engine_s)],
		[t('Heard before, taken from the cache'), r.chunks ? t('{part} of {all} passages', { part: r.cached_chunks, all: r.chunks }) : '—'],
		[t('Model'), model?.served ?? r.model],
		[t('On AWS Lambda it would be billed'), t('{s} at {mb} MB', { s: seconds((r.billed_ms ?? 0) / 1000), mb: number(r.memory_mb ?? 0) })],
		[t('and would cost'), `$${number(r.usd ?? 0, 6)}`],
	];
	return dialog(t('The receipt'), () => [
		h('table.receipt', h('tbody', rows.map(([what, value]) => h('tr', h('th', { scope: 'row' }, what), h('td', value))))),
		h('p.small', t('Here it cost nothing but this server’s time.')),
	]);
}
