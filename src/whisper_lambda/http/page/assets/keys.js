import { dialog, h } from './dom.js';
import { t } from './words.js';

export const singleKeys = () => localStorage.getItem('single-keys') !== 'off';

const SHEET = () => [
	[t('Hear'), [['Space', t('play, pause')], ['P', t('play this line')], ['← →', t('word by word')], [', .', t('3 s back, on')], ['< >', t('slower, faster')], ['F', t('follow along')]]],
	[t('Move'), [['↑ ↓', t('line by line')], ['Home End', t('first, last line')], ['D', t('next doubtful word')], ['/', t('find and replace')]]],
	[t('Correct'), [['Enter, E', t('edit the line')], ['S', t('split at the word')], ['J', t('join with the next')], ['N', t('name the speaker')], ['R', t('hear again')], ['[ ]', t('0.1 s earlier, later')], ['{ }', t('and all that follow')], ['Ctrl ⌫', t('delete the line')], ['Ctrl Z', t('take back')], ['Ctrl ⇧ Z', t('do again')]]],
	[t('While editing'), [['Enter', t('split here')], ['⌫', t('at the beginning: join')], ['Ctrl Enter', t('done, next line')], ['Ctrl Space', t('play, pause')], ['Esc', t('done')]]],
];

export function keySheet() {
	return dialog(t('Keyboard'), () => [
		h('div.sheetkeys', SHEET().map(([title, rows]) => h('section', h('h3', title),
			h('dl', rows.map(([key, what]) => [h('dt', h('kbd', key)), h('dd', what)]))))),
		h('label.check', h('input', {
			type: 'checkbox', checked: singleKeys(), onchange: (e) => localStorage.setItem('single-keys', e.target.checked ? 'on' : 'off'),
		}), t('Single keys work, not only those with Ctrl')),
	], { wide: true });
}
