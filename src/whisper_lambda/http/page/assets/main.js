// Starts the page: which sheet is shown, what every sheet shares.

import { call, facts, learnFacts, serverBack, talks } from './api.js';
import { $, ask, fill, h, say } from './dom.js';
import { Home, takeDrops } from './home.js';
import { askForKey } from './key.js';
import { keySheet, singleKeys } from './keys.js';
import { adopt, queue, queued, resume } from './queue.js';
import { Reader } from './reader.js';
import { forgetAll, get } from './store.js';
import { Talk } from './talk.js';
import { language, languages, speak, t } from './words.js';

let sheet = null;

async function route() {
	sheet?.close();
	sheet = null;
	const [, kind, id] = location.hash.split('/');
	const root = $('main');
	if (kind === 't') sheet = await read(decodeURIComponent(id ?? ''));
	else if (kind === 'talk') sheet = new Talk();
	else if (kind === 'job' && id) return await awaitJob(decodeURIComponent(id));
	else sheet = new Home();
	document.title = sheet?.doc ? `${sheet.doc.name.slice(0, 60)} · whisper-lambda` : 'whisper-lambda';
	for (const link of document.querySelectorAll('nav a')) {
		if ((link.hash === '#/talk') === (kind === 'talk') && kind !== 't') link.setAttribute('aria-current', 'page');
		else link.removeAttribute('aria-current');
	}
	fill(root, sheet ? sheet.node : lost());
	scrollTo(0, 0);
	$('h1', root)?.focus({ preventScroll: true });
	await sheet?.open();
	return undefined;
}

async function read(id) {
	const doc = await get('transcripts', id).catch(() => null);
	return doc ? new Reader(doc) : null;
}

const lost = () => h('div.home', h('h1', { tabIndex: -1 }, t('This transcript is not in this browser')),
	h('p', t('Transcripts are kept where they were made.'), ' ', h('a', { href: '#/' }, t('To the others'))));

// A link to a job: shown in the queue, opened when it is written.
async function awaitJob(job) {
	const item = adopt(job);
	location.replace('#/');
	const opened = ({ detail }) => {
		if (detail !== item || item.state !== 'done') return;
		queue.removeEventListener('change', opened);
		location.hash = `#/t/${item.doc}`;
	};
	queue.addEventListener('change', opened);
}

function frame() {
	const scheme = localStorage.getItem('scheme') ?? '';
	if (scheme) document.documentElement.dataset.scheme = scheme;
	fill($('nav'), h('a', { href: '#/' }, t('Recordings')), talks() && h('a', { href: '#/talk' }, t('Talk')));
	$('nav').setAttribute('aria-label', t('Sheets'));
	$('#skip').textContent = t('To the content');
	const choose = (label, id, choices, value, changed) => h('label', h('span.unseen', label),
		h('select', { id, onchange: (e) => changed(e.target.value) }, choices.map(([v, text]) => h('option', { value: v, selected: v === value, lang: id === 'tongue' ? v : undefined }, text))));
	fill($('footer'),
		h('p', t('What you add goes to {host} and nowhere else. Transcripts and recordings are kept in this browser.', { host: location.host })),
		h('p.acts',
			h('button', { onclick: () => askForKey() }, t('Key')), h('button', { onclick: () => keySheet() }, t('Keyboard')),
			h('a', { href: 'docs' }, 'API'), h('button', { onclick: forgetEverything }, t('Forget everything')),
			choose(t('Language of this page'), 'tongue', Object.entries(languages), language(), (v) => { speak(v); frame(); route(); }),
			choose(t('Light or dark'), 'scheme', [['', t('as the system')], ['light', t('light')], ['dark', t('dark')]], scheme, (v) => {
				localStorage.setItem('scheme', v);
				if (v) document.documentElement.dataset.scheme = v;
				else delete document.documentElement.dataset.scheme;
				dispatchEvent(new Event('scheme'));
			})),
		h('p.small', `whisper-lambda ${facts().version ?? ''}`));
}

async function forgetEverything() {
	const too = h('input', { type: 'checkbox' });
	const sure = await ask(t('Forget everything?'), t('Forget everything'),
		h('p', t('It goes from this browser, recordings too. What you exported stays.')),
		h('label.check', too, t('Also what the server keeps of mine: uploads, jobs and cache')));
	if (!sure) return;
	try {
		if (too.checked) await call('v1/data', { method: 'DELETE' });
		await forgetAll();
		say(t('Everything is forgotten.'));
	} catch (cause) {
		if (cause.needsKey) askForKey(cause.message);
		say(cause.message, { alert: true });
	}
	route();
}

const typing = (target) => target.closest?.('input, textarea, select, [contenteditable], dialog');

addEventListener('keydown', (e) => {
	if (typing(e.target) || e.defaultPrevented) return;
	const bare = !e.ctrlKey && !e.metaKey && !e.altKey;
	if (bare && e.key.length === 1 && !singleKeys()) return;
	if (sheet?.key?.(e)) e.preventDefault();
	else if (bare && e.key === '?') keySheet();
});

$('#skip').addEventListener('click', (e) => {
	e.preventDefault();
	($('main h1') ?? $('main')).focus();
});
addEventListener('hashchange', route);
addEventListener('beforeunload', (e) => queued().some((i) => i.unsaved && !['done', 'failed'].includes(i.state)) && e.preventDefault());

speak();
await learnFacts().catch(() => {
	say(t('The server cannot be reached.'), { alert: true });
	serverBack().then(learnFacts).then(() => { frame(); route(); });
});
frame();
takeDrops();
await route();
resume();
