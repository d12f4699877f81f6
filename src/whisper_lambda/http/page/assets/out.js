// Ways out: copied, printed, or one of the formats; always as it was corrected.

import { download, h, say } from './dom.js';
import { FORMATS, fileName, txt, write } from './formats.js';
import { t } from './words.js';

const SHOWN = () => ({
	txt: t('plain text'), srt: t('subtitles'), vtt: t('subtitles for the web'), html: t('for word processors'),
	json: t('everything, for programs'), tsv: t('a table'), lrc: t('lyrics'), ass: t('karaoke'),
});

export function outMenu(current) {
	const menu = h('details.menu');
	const item = (label, hint, work) => h('li', h('button', { onclick: () => { menu.open = false; work(); } }, label, hint && h('small', hint)));
	const save = (format) => {
		const doc = current();
		download(fileName(doc, format), FORMATS[format][0], write(format, doc));
		say(t('Saved as {name}', { name: fileName(doc, format) }));
	};
	const link = () => current().request?.job;
	menu.append(h('summary', t('Export')), h('ul',
		item(t('Copy'), t('all of the text'), () => copy(txt(current()))),
		Object.entries(SHOWN()).map(([format, hint]) => item(format, hint, () => save(format))),
		item(t('Print'), '', () => print()),
		link() && item(t('Copy a link'), t('to the job on this server'), () => copy(`${location.href.split('#')[0]}#/job/${link()}`))));
	menu.addEventListener('focusout', (e) => !menu.contains(e.relatedTarget) && e.relatedTarget && (menu.open = false));
	menu.addEventListener('keydown', (e) => {
		if (e.key !== 'Escape' || !menu.open) return;
		menu.open = false;
		menu.querySelector('summary').focus();
		e.stopPropagation();
	});
	return menu;
}

export async function copy(text) {
	try {
		await navigator.clipboard.writeText(text);
	} catch { // no secure context, or not allowed
		const area = h('textarea.unseen', { value: text, 'aria-hidden': 'true' });
		document.body.append(area);
		area.select();
		document.execCommand('copy');
		area.remove();
	}
	say(t('Copied'));
}
