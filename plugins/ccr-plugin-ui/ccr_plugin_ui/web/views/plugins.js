// Plugins: what is installed, what each brings, and why one does not work.
import { badge, code, dump, field, h, input, put, t } from '../kit.js'
const STATES = { active: 'ok', failed: 'bad', disabled: 'warn' }

export default async function (page) {
 const { plugins } = await page.get('/api/plugins')
 const failed = plugins.filter(it => it.state === 'failed')
 const box = h('ul.plugin-list')
 const draw = text => put(box, [...failed, ...plugins.filter(it => it.state !== 'failed')].filter(it => dump(it).toLowerCase().includes(text.toLowerCase())).map(it => h('li.card',
  h('div.card-head', h('div', h('h2', it.name), h('p.hint', `${it.distribution} ${it.version}`)), h('div.actions', it.used ? null : badge(t('plugins.unused')), badge(t(`plugin.${it.state}`), STATES[it.state]))),
  it.reason ? h(`p.notice.${it.state === 'failed' ? 'bad' : 'info'}.break`, it.reason) : null,
  h('ul.chips', { label: t('plugins.offers') }, it.offers.map(offer => h('li.chip', { title: offer.summary }, h('small.muted', `${offer.kind} `), offer.name))), h('p.hint', it.hooks.join(', ')))))
 page.draw([t('nav.plugins'), t('plugins.lead', { n: plugins.length })], failed.length ? h('p.notice.bad', { role: 'alert' }, t('plugins.failed', { names: failed.map(it => it.name).join(', ') })) : null,
  field(t('providers.search'), input('', draw, { type: 'search' })), box, h('p.hint', t('plugins.install'), ' ', code('ccr plugins install NAME')))
 draw('')
}
