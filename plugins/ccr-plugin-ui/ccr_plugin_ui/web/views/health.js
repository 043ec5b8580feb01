// What `ccr doctor` finds, each with the command that mends it.
import { badge, button, card, copy, h, iconButton, t } from '../kit.js'
const KINDS = { error: 'bad', warning: 'warn', note: 'info', ok: 'ok' }

export default async function (page) {
 const { findings } = await page.get('/api/doctor')
 const order = Object.keys(KINDS)
 findings.sort((a, b) => order.indexOf(a.level) - order.indexOf(b.level))
 const bad = findings.filter(it => it.level === 'error' || it.level === 'warning').length
 page.draw([t('nav.health'), bad ? t('health.bad', { n: bad }) : t('health.good'), button(t('health.again'), page.again)],
  card(t('health.findings'), [], h('ul.facts-list', findings.map(it => h('li', h('div.row', badge(t(`level.${it.level}`), KINDS[it.level]), h('strong', it.check)), h('p', it.message),
   it.mend ? h('div.row', h('pre.code', it.mend), iconButton('copy', t('copy'), () => copy(it.mend))) : null)))))
}
