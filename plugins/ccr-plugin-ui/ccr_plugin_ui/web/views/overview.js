// What happens now, and what the last day and month were like.
import { api, badge, bars, card, DASH, dump, empty, h, legend, linkButton, money, number, poll, put, seconds, share, short, t, tile } from '../kit.js'
import { Live } from './live.js'

const METRICS = {
 cost: [group => group.cost, money],
 requests: [group => group.requests, value => number(value)],
 output: [group => group.tokens?.output, short],
 input: [group => (group.tokens?.input ?? 0) + (group.tokens?.cache_read ?? 0) + (group.tokens?.cache_write ?? 0), short],
}

export default async function (page) {
 const [status, providers, history] = await Promise.all([
  page.get('/api/status').catch(error => ({ error })),
  page.get('/api/providers').catch(error => ({ error })),
  page.get('/api/history/overview').catch(error => ({ error })),
 ])
 const tiles = h('div.tiles', { role: 'list' })
 const plots = h('div.two')
 const live = h('div')
 page.draw([t('nav.overview'), t('overview.lead')],
  status.reload?.error || status.problem || status.last_error ? h('div.notice.bad', { role: 'alert' }, t('overview.config-problem'), ' ', h('a', { href: '#/raw' }, t('nav.raw'))) : null,
  firstSteps(providers), tiles, card(t('overview.live'), linkButton(t('overview.all'), '#/requests', 'small'), live), plots)
 if (history.error) {
  put(live, empty(history.error.status === 404 ? t('history.off') : history.error.message))
  return
 }
 let metric = history.models.some(it => it.cost) ? 'cost' : 'requests'
 let span = 'days'
 let data = history
 const figures = () => {
  put(tiles, tile(t('tile.running'), number(data.running), data.running ? t('tile.running.now') : t('tile.running.none'), data.running ? 'info' : ''),
   tile(t('tile.requests'), number(data.day.requests), t('tile.hour', { n: number(data.hour.requests) })),
   tile(t('tile.speed'), data.hour.tokens_per_second || data.day.tokens_per_second ? number(data.hour.tokens_per_second ?? data.day.tokens_per_second) : DASH, t('tile.speed.note')),
   tile(t('tile.first'), seconds(data.hour.first?.p50 ?? data.day.first?.p50), t('tile.p90', { value: seconds(data.hour.first?.p90 ?? data.day.first?.p90) })),
   tile(t('tile.errors'), number(data.day.errors), data.day.requests ? `${number(100 * data.day.errors / data.day.requests, 1)} %` : DASH, data.day.errors ? 'bad' : ''),
   tile(t('tile.spend'), data.day.requests ? money(data.day.cost) : '$0', data.day.unpriced ? t('tile.unpriced', { n: number(data.day.unpriced) }) : t('tile.day'), data.day.unpriced ? 'warn' : ''))
 }
 const draw = () => {
  const [value, format] = METRICS[metric]
  const keys = [...data.models].sort((a, b) => (value(b) ?? 0) - (value(a) ?? 0)).slice(0, 5).map(model => model.key)
  const series = data[span].map(it => ({ label: it.key, short: span === 'days' ? it.key.slice(5) : `${it.key.slice(11)}h`,
   parts: it.models?.length ? it.models.map(model => ({ key: model.key, value: value(model) })) : [{ key: '', value: value(it) }] }))
  const most = Math.max(...data.models.map(model => value(model) ?? 0), 0)
  const pick = (label, names, now, set, text) => h('div.segments', { role: 'group', label: label }, names.map(name =>
   h('button', { type: 'button', 'aria-pressed': String(now === name), onclick: () => { set(name); draw() } }, text(name))))
  put(plots,
   card(t('overview.over-time'), [pick(t('overview.metric'), Object.keys(METRICS), metric, name => { metric = name }, name => t(`metric.${name}`)), pick(t('overview.span'), ['hours', 'days'], span, name => { span = name }, name => t(`span.${name}`))],
    series.length ? [bars(`${t('overview.over-time')}: ${t(`metric.${metric}`)}`, series, keys, format), legend(keys, data.models.length > keys.length)] : empty(t('requests.none'))),
   card(t('overview.models'), [], data.models.length ? h('ul.models', [...data.models].sort((a, b) => (value(b) ?? 0) - (value(a) ?? 0)).slice(0, 8).map((model, place) => h('li',
    h('div.row.between', h('span.name', model.key ?? t('requests.no-route')), h('strong', value(model) === null || value(model) === undefined ? t('unknown') : format(value(model)))), share(value(model) ?? 0, most, place < 5 ? place : 'x'),
    h('p.hint', t('overview.model-line', { requests: number(model.requests), errors: number(model.errors ?? 0), out: short(model.tokens?.output ?? 0) }), model.unpriced ? [' ', badge(t('tile.unpriced', { n: number(model.unpriced) }), 'warn')] : null)))) : empty(t('requests.none'))))
 }
 figures()
 draw()
 const rows = new Live(live, { limit: 8, signal: page.signal, caption: t('overview.live') })
 await rows.start()
 let shown = dump(data)
 let quiet = true // the first answer of the loop is the one at hand
 poll(async () => {
  if (quiet) { quiet = false; return }
  data = await page.get('/api/history/overview')
  figures()
  const now = dump([data.days, data.hours])
  if (now !== shown && !plots.contains(document.activeElement)) { shown = now; draw() }
 }, 2500, page.signal)
}

/** What to do first, while there is nothing to send requests to. */
function firstSteps(providers) {
 if (providers.error) return h('div.notice.bad', { role: 'alert' }, providers.error.message)
 const ready = providers.providers.filter(it => it.enabled !== false)
 if (ready.length) return null
 const step = (n, title, text, action) => h('li', h('span.step', { 'aria-hidden': 'true' }, n), h('div', h('h3', title), h('p', text), action))
 return card(t('first.title'), [], h('p', t('first.lead')), h('ol.steps',
  step(1, t('providers.add'), t('first.provider.text'), linkButton(t('providers.add'), '#/providers/add', 'primary')),
  step(2, t('first.routes'), t('first.routes.text'), linkButton(t('nav.routing'), '#/routing')),
  step(3, t('first.code'), t('first.code.text'), h('pre.code', 'ccr code'))))
}
