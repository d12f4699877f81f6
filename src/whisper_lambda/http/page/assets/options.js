// How recordings are to be heard: kept on this device, told as one sentence, sent as form fields.

import { facts } from './api.js';
import { h } from './dom.js';
import { languageName, t } from './words.js';

// The languages people ask for most come first; the server knows them all.
const LANGUAGES = ['es', 'en', 'fr', 'de', 'it', 'pt', 'ca', 'nl', 'pl', 'ru', 'uk', 'tr', 'ar', 'he', 'hi', 'zh', 'ja', 'ko', 'vi', 'id', 'sv', 'da', 'no', 'fi', 'el', 'cs', 'ro', 'hu'];
const PLAIN = { language: '', task: 'transcribe', model: '', quality: 'balanced', prompt: '', hotwords: '', channels: false, multilingual: false };

export function options() {
	try {
		return { ...PLAIN, ...JSON.parse(localStorage.getItem('options') ?? '{}') };
	} catch {
		return { ...PLAIN };
	}
}

export const keepOptions = (changed) => localStorage.setItem('options', JSON.stringify({ ...options(), ...changed }));

export function fieldsOf(wish, more = []) {
	const fields = [['model', wish.model || 'whisper-1']];
	if (wish.language) fields.push(['language', wish.language]);
	if (wish.prompt) fields.push(['prompt', wish.prompt]);
	if (wish.hotwords) fields.push(['hotwords', wish.hotwords]);
	if (wish.quality !== 'balanced') fields.push(['quality', wish.quality]);
	if (wish.channels) fields.push(['by_channel', 'true']);
	if (wish.multilingual && wish.task !== 'translate') fields.push(['multilingual', 'true']);
	return [...fields, ['response_format', 'verbose_json'], ['timestamp_granularities[]', 'word'], ['timestamp_granularities[]', 'segment'], ...more];
}

export const routeOf = (wish) => (wish.task === 'translate' ? '/v1/audio/translations' : '/v1/audio/transcriptions');

export function formOf(fields, file, name) {
	const form = new FormData();
	for (const [field, value] of fields) form.append(field, value); // before the file: refusals come early
	form.append('file', file, safeName(name));
	return form;
}

// The server never reads it; a header must be able to carry it.
const safeName = (name) => name.replace(/[^\w.-]+/g, '_').slice(-60) || 'recording';

const picker = (name, label, choices, value, changed) =>
	h('select', { name, 'aria-label': label, onchange: (e) => changed({ [name]: e.target.value }) },
		choices.map(([v, text]) => h('option', { value: v, selected: v === value }, text)));

export const languageChoices = () => [['', t('any language')], ...LANGUAGES.map((code) => [code, languageName(code)])
	.sort((a, b) => a[1].localeCompare(b[1]))];

export const modelChoices = () => [['', t('the usual model')], ...(facts().models ?? []).map((m) => [m, m])];

export function sentence() {
	const wish = options();
	const slots = {
		language: picker('language', t('Language'), languageChoices(), wish.language, keepOptions),
		task: picker('task', t('Task'), [['transcribe', t('as spoken')], ['translate', t('in English')]], wish.task, keepOptions),
		model: picker('model', t('Model'), modelChoices(), wish.model, keepOptions),
	};
	const parts = t('Listen for {language}, write it down {task}, with {model}.').split(/\{(\w+)\}/);
	const area = (name, label, hint) => [
		h('label', { for: `o-${name}` }, label),
		h('textarea', { id: `o-${name}`, rows: 2, value: wish[name], placeholder: hint, onchange: (e) => keepOptions({ [name]: e.target.value.trim() }) }),
	];
	const check = (name, label) => h('label.check',
		h('input', { type: 'checkbox', checked: wish[name], onchange: (e) => keepOptions({ [name]: e.target.checked }) }), label);
	return [
		h('p.wish', parts.map((part, i) => (i % 2 ? slots[part] : part))),
		h('details.more', h('summary', t('Names, terms and speakers')),
			area('hotwords', t('Names and terms to listen for, separated by commas'), 'Hernán, Mangum, SnapStart'),
			area('prompt', t('Text that goes before, for its style and spelling'), ''),
			check('channels', t('One speaker on each channel (a stereo call)')),
			check('multilingual', t('Several languages in one recording')),
			h('p.pair', h('label', { for: 'o-quality' }, t('Care')), ' ',
				h('select', { id: 'o-quality', onchange: (e) => keepOptions({ quality: e.target.value }) },
					[['fast', t('quick')], ['balanced', t('balanced')], ['best', t('thorough')]].map(([v, l]) => h('option', { value: v, selected: v === wish.quality }, l))))),
	];
}
