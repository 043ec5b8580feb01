// Plots as SVG; each has its figures as a table, too.
import { h, s, uid } from './dom.js'
import { t } from './i18n.js'

export const TONES = 5

/** Stacked bars. `bars`: [{label, parts: [{key, value}]}]; `keys` in order, the rest is "others". */
export function bars(title, data, keys, format) {
 const wide = 720, high = 190, left = 46, foot = 22, top = 8
 const total = bar => bar.parts.reduce((sum, part) => sum + (part.value || 0), 0)
 const most = Math.max(...data.map(total), 0) || 1
 const step = (wide - left) / Math.max(data.length, 1)
 const y = value => top + (high - top - foot) * (1 - value / most)
 const marks = [0, most / 2, most]
 const every = Math.ceil(data.length / 8)
 const id = uid('plot')
 return h('figure.plot', s('svg', { viewBox: `0 0 ${wide} ${high}`, role: 'img', 'aria-labelledby': id },
  s('title', { id }, title),
  marks.map(mark => [s('line', { class: 'grid', x1: left, x2: wide, y1: y(mark), y2: y(mark) }), s('text', { class: 'tick', x: left - 6, y: y(mark) + 4, 'text-anchor': 'end' }, format(mark))]),
  data.map((bar, place) => {
   let at = 0
   const sums = keys.map(key => bar.parts.filter(part => part.key === key).reduce((sum, part) => sum + (part.value || 0), 0))
   sums.push(total(bar) - sums.reduce((sum, value) => sum + value, 0))
   return s('g', {}, s('title', {}, `${bar.label}: ${format(total(bar))}`),
    s('rect', { class: 'hit', x: left + place * step, y: top, width: step, height: high - top - foot }),
    sums.map((value, tone) => {
     if (value <= 0) return null
     const from = at
     at += value
     return s('rect', { class: `tone${tone < keys.length ? tone % TONES : 'x'}`, x: left + place * step + step * 0.14, width: Math.max(Math.min(step * 0.72, 46), 1), y: y(at), height: Math.max(y(from) - y(at), 0.5) })
    }),
    place % every === 0 ? s('text', { class: 'tick', x: left + place * step + Math.min(step * 0.5, 37), y: high - 6, 'text-anchor': 'middle' }, bar.short ?? bar.label) : null)
  })),
 h('details', h('summary', t('plot.table')), h('table', h('caption.sr', title), h('tbody', data.map(bar => h('tr', h('th', { scope: 'row' }, bar.label), h('td.num', format(total(bar)))))))))
}

/** Which colour is whose. */
export const legend = (keys, others) => h('ul.legend', keys.map((key, tone) => h('li', h(`span.dot.tone${tone % TONES}`, { 'aria-hidden': 'true' }), key)),
 others ? h('li', h('span.dot.tonex', { 'aria-hidden': 'true' }), t('plot.others')) : null)

/** A bar with its share of the whole beside it. */
export function share(value, most, tone = 0) {
 return s('svg', { class: 'share', viewBox: '0 0 100 6', preserveAspectRatio: 'none', 'aria-hidden': 'true' },
  s('rect', { class: 'rail', width: 100, height: 6, rx: 3 }), s('rect', { class: `tone${tone}`, width: most ? Math.max(100 * value / most, value ? 1.5 : 0) : 0, height: 6, rx: 3 }))
}

/** What happened when, within one request: spans [{label, from, to, tone}] in seconds. */
export function waterfall(title, spans, end) {
 const wide = 720, row = 30, left = 170
 const most = end || Math.max(...spans.map(span => span.to ?? span.from), 0.001)
 const x = value => left + (wide - left - 66) * Math.min(value / most, 1)
 return h('figure.plot.waterfall', { tabindex: '0', 'aria-label': title }, s('svg', { viewBox: `0 0 ${wide} ${spans.length * row + 6}`, role: 'img', 'aria-label': title }, spans.map((span, place) => s('g', {},
  s('text', { class: 'tick label', x: 0, y: place * row + 20 }, span.label.length > 26 ? `${span.label.slice(0, 25)}…` : span.label),
  s('rect', { class: 'rail', x: left, y: place * row + 9, width: wide - left - 66, height: 14, rx: 4 }),
  s('rect', { class: span.tone ?? 'tone0', x: x(span.from), y: place * row + 9, width: Math.max(x(span.to ?? span.from) - x(span.from), 3), height: 14, rx: 3 }),
  s('text', { class: 'tick', x: wide, y: place * row + 20, 'text-anchor': 'end' }, span.text)))))
}
