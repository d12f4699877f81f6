// The page's own words. English stands where it is used, the key of the others.

import phrases from './phrases.js';

const LANGUAGES = { en: 'English', es: 'Español', fr: 'Français' };
let catalogue = new Map();
let current = 'en';

export const languages = LANGUAGES;
export const language = () => current;

export function speak(wanted) {
	const asked = wanted ?? localStorage.getItem('language') ?? navigator.languages.map((l) => l.slice(0, 2)).find((l) => l in LANGUAGES);
	current = asked in LANGUAGES ? asked : 'en';
	if (wanted) localStorage.setItem('language', current);
	const column = Object.keys(LANGUAGES).indexOf(current);
	catalogue = new Map(phrases.trim().split('\n').map((row) => row.split('|')).map((row) => [row[0], row[column]]));
	document.documentElement.lang = current;
}

export function t(english, values = {}) {
	const text = catalogue.get(english) ?? english;
	return text.replace(/\{(\w+)\}/g, (mark, name) => (name in values ? String(values[name]) : mark));
}

export const number = (value, digits = 0) =>
	new Intl.NumberFormat(current, { maximumFractionDigits: digits, minimumFractionDigits: digits }).format(value);

export const when = (ms) =>
	new Intl.DateTimeFormat([...navigator.languages.filter((l) => l.startsWith(current)), current], { dateStyle: 'medium', timeStyle: 'short' }).format(ms);

// 75.4 -> 1:15, 3725 -> 1:02:05
export function clock(seconds) {
	const s = Math.max(0, Math.floor(seconds || 0));
	const two = (n) => String(n).padStart(2, '0');
	return s >= 3600
		? `${Math.floor(s / 3600)}:${two(Math.floor(s / 60) % 60)}:${two(s % 60)}`
		: `${Math.floor(s / 60)}:${two(s % 60)}`;
}

export function languageName(code) {
	if (!code) return '';
	try {
		return new Intl.DisplayNames([current], { type: 'language' }).of(code);
	} catch {
		return code;
	}
}
