// Elements from plain values. Text only ever becomes text: nothing here parses markup.

import { t } from './words.js';

// h('p.small', { dir: 'auto' }, child, ...); the properties may be left out.
export function h(kind, props, ...children) {
	const [tag, ...classes] = kind.split('.');
	const node = document.createElement(tag);
	if (classes.length) node.className = classes.join(' ');
	if (props?.constructor !== Object) children.unshift(props);
	else for (const [name, value] of Object.entries(props)) {
		if (value === undefined || value === null || value === false) continue;
		if (name.startsWith('on')) node.addEventListener(name.slice(2), value);
		else if (name in node && !['list', 'form', 'role'].includes(name)) node[name] = value;
		else node.setAttribute(name, value === true ? '' : value);
	}
	node.append(...children.flat(Infinity).filter((c) => c !== null && c !== undefined && c !== false));
	return node;
}

// What others named: kept apart from the direction of the text around it.
export const bdi = (text) => h('bdi', shortened(text));

export const shortened = (text, most = 160) =>
	text.length <= most ? text : `${text.slice(0, most - 20)}…${text.slice(-18)}`;

export function fill(node, ...children) {
	node.replaceChildren(...children.flat(Infinity).filter((c) => c !== null && c !== undefined && c !== false));
	return node;
}

export const $ = (selector, root = document) => root.querySelector(selector);

// Do `work` on every item without holding the page up: a few milliseconds at a time.
export async function inPieces(items, work, { signal, budgetMs = 8 } = {}) {
	let until = performance.now() + budgetMs;
	for (let i = 0; i < items.length; i++) {
		work(items[i], i);
		if (performance.now() > until) {
			await breath();
			if (signal?.aborted) return false;
			until = performance.now() + budgetMs;
		}
	}
	return true;
}

export const sleep = (ms) => new Promise((go) => setTimeout(go, ms));

export const breath = () =>
	globalThis.scheduler?.yield ? scheduler.yield() : sleep(0);

export function download(name, type, parts) {
	const address = URL.createObjectURL(new Blob([parts].flat(), { type }));
	const link = h('a', { href: address, download: name });
	document.body.append(link);
	link.click();
	link.remove();
	setTimeout(() => URL.revokeObjectURL(address), 60_000);
}

// A modal: a heading, a body, verbs and a way to close it. Resolves with the verb's value, '' when it was left.
export function dialog(title, build, { wide = false, verbs = () => [] } = {}) {
	return new Promise((done) => {
		const box = h('dialog', { 'aria-labelledby': 'asked', className: wide ? 'wide' : '' });
		const close = (value = '') => box.close(value);
		box.append(h('h2', { id: 'asked' }, title), ...[build(close)].flat(Infinity).filter(Boolean),
			h('p.acts', verbs(close), h('button', { onclick: () => close() }, t('Close'))));
		box.addEventListener('click', (e) => e.target === box && close());
		box.addEventListener('close', () => {
			box.remove();
			done(box.returnValue);
		});
		document.body.append(box);
		box.showModal();
	});
}

// A dialog that asks: resolves to whether its verb was chosen.
export async function ask(title, verb, ...children) {
	const form = (close) => h('form', { id: 'asking', onsubmit: (e) => { e.preventDefault(); close('yes'); } }, ...children);
	return (await dialog(title, form, { verbs: () => h('button.main', { form: 'asking' }, verb) })) === 'yes';
}

let saying;
export function say(text, { alert = false, shown = false } = {}) {
	const place = $(alert ? '#alarm' : '#status');
	place.classList.toggle('unseen', shown);
	clearTimeout(saying);
	place.textContent = '';
	requestAnimationFrame(() => (place.textContent = text));
	saying = setTimeout(() => (place.textContent = ''), alert ? 15_000 : 5_000);
}
