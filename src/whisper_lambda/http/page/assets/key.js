// The API key: pasted once, kept for the session unless its owner says otherwise, sent nowhere else.

import { ask, h } from './dom.js';
import { t } from './words.js';

const NAME = 'key';
let asking = null;

export const key = () => sessionStorage.getItem(NAME) ?? localStorage.getItem(NAME) ?? '';

export function keepKey(text, { always = false } = {}) {
	forgetKey();
	if (text) (always ? localStorage : sessionStorage).setItem(NAME, text);
}

export function forgetKey() {
	sessionStorage.removeItem(NAME);
	localStorage.removeItem(NAME);
}

// Once for all who need one at the moment; whether one was given.
export function askForKey(reason = '') {
	const field = h('input', { type: 'password', id: 'key', autocomplete: 'off', spellcheck: false, required: true, value: key(), 'aria-describedby': 'key-why' });
	const always = h('input', { type: 'checkbox', checked: Boolean(localStorage.getItem(NAME)) });
	asking ??= ask(t('API key'), t('Use this key'),
		h('p', { id: 'key-why', className: reason ? 'wrong' : '' },
			reason || t('This server asks for a key. Whoever runs it makes one with “whisper-lambda keys add”.')),
		h('label', { for: 'key' }, t('Key')), field,
		h('label.check', always, t('Remember it on this device')),
		key() && h('button', { type: 'button', onclick: (e) => { forgetKey(); field.value = ''; e.target.remove(); } }, t('Forget it')),
	).then((given) => {
		asking = null;
		if (given) {
			keepKey(field.value.trim(), { always: always.checked });
			dispatchEvent(new Event('key'));
		}
		return given;
	});
	return asking;
}
