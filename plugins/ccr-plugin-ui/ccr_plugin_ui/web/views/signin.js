// Signing in with a subscription: a code to type, a page to open, an address to paste, a question to answer.
import { api, badge, button, confirm, copy, dialog, doing, dump, enc, field, h, icon, input, LIVE, poll, put, secret, t, toast } from '../kit.js'
import { account } from './providers.js'

export default async function (page) {
 const { providers } = await page.get('/api/auth/providers')
 const one = it => {
  const { name, accounts, risk } = it
  const login = body => doing(async () => {
   const asked = risk ? await consent(it) : {}
   if (asked && await flow(await api.post(`/api/auth/login/${enc(name)}`, { ...body, ...asked }), name)) page.again()
  })
  const models = h('ul.chips', { label: t('providers.models') })
  return h('li.card', { data: { provider: name } }, h('div.card-head', h('h2', name), accounts.length ? badge(t('signin.accounts', { n: accounts.length }), 'ok') : badge(t('signin.none'))),
   h('p', it.summary), risk ? h('details', h('summary', t('signin.risk')), h('p.notice.warn', risk)) : null, it.problem ? h('p.notice.bad', it.problem) : null,
   accounts.length ? h('ul.facts-list', accounts.map(each => {
    const item = account(each)
    item.append(h('div.buttons', it.interactive ? button(t('signin.again'), login({ account: each.account }), 'small') : '', button(t('signin.out'), doing(async () => {
     if (!await confirm(t('signin.out.title', { name: each.label || each.account }), t('signin.out.text'), t('signin.out'))) return
     const { notes } = await api.post(`/api/auth/logout/${enc(name)}`, { account: each.account })
     notes.forEach(note => toast(note, 'warn'))
     page.again()
    }), 'small')))
    return item
   })) : null, models,
   h('div.buttons', it.interactive ? button(t(accounts.length ? 'signin.another' : 'signin.go'), login({}), accounts.length ? 'small' : 'primary') : h('p.muted', t('signin.not-needed')),
    it.flows.slice(1).map(method => button(`${t('signin.go')}: ${method}`, login({ method }), 'small')),
    accounts.length ? button(t('providers.models'), doing(async () => put(models, (await api.get(`/api/auth/models/${enc(name)}`)).models.map(model => h('li.chip', model.title)))), 'small') : null))
 }
 page.draw([t('nav.signin'), t('signin.lead')], h('ul.providers', providers.map(one)))
}

/** What the vendor says against it, to be read before; gives {consent: true} or null. */
const consent = ({ risk }) => dialog(t('signin.consent'), finish => {
 const go = button(t('signin.go'), () => finish({ consent: true }), 'primary', { disabled: true })
 return h('div', h('p.notice.warn', risk), h('label.check', h('input', { type: 'checkbox', onchange: event => { go.disabled = !event.target.checked } }), ' ', t('signin.consent.yes')), h('div.buttons', button(t('cancel'), () => finish(null)), go))
})

/** The conversation of a login, until it ends; true if somebody is signed in. */
async function flow(login, name) {
 const url = `/api/auth/logins/${enc(login.id)}`
 const over = new AbortController()
 await dialog(t('signin.title', { name }), finish => {
  const box = h('div.login', LIVE)
  let shown = ''
  const ask = (label, kind, hint) => {
   let value = ''
   return h('form', { onsubmit: event => {
    event.preventDefault()
    doing(async () => { login = await api.post(url, { answer: value }); draw() })({ currentTarget: event.submitter })
   } }, field(label, kind('', text => { value = text }), { hint }), h('div.buttons', h('button.primary', { type: 'submit' }, t('signin.answer'))))
  }
  const open = () => login.url ? h('a.button.primary', { href: /^https?:/.test(login.url) ? login.url : null, target: '_blank', rel: 'noopener noreferrer' }, t('signin.open')) : ''
  const end = kind => [h(`p.notice.${kind}`, { role: 'alert' }, kind === 'ok' ? t('signin.done', { name: login.account ?? name }) : login.message), h('div.buttons', button(t('close'), () => finish(), 'primary'))]
  const draw = () => {
   const { state, code, message, notes, paste } = login
   const now = dump(login)
   if (now === shown) return
   shown = now
   put(box, notes.filter(note => note !== message).map(note => h('p.notice.info', note)), {
    open: () => [h('p', message || t('signin.open.text')), h('div.buttons', open(), button(t('copy'), () => copy(login.url)))],
    code: () => [h('p', message || t('signin.code.text')), h('p.user-code', { tabindex: '0' }, code), h('div.buttons', button([icon('copy'), t('copy')], () => copy(code)), open()), h('p.hint.break', login.url)],
    question: () => [message ? h('p', message) : '', ask(login.question, login.secret ? secret : input)],
    done: () => end('ok'), failed: () => end('bad'), working: () => [h('p', h('span.spin'), ' ', message || t('signin.working'))],
   }[state](), paste ? h('details', h('summary', t('signin.paste')), ask(t('signin.paste.label'), input, t('signin.paste.hint'))) : null)
   box.querySelector('input,a,button')?.focus()
  }
  draw()
  poll(async () => {
   if (login.state === 'done' || login.state === 'failed' || box.querySelector('[aria-busy]')) return
   login = await api.get(url, { signal: over.signal })
   draw()
  }, 1000, over.signal)
  return box
 })
 over.abort()
 if (!['done', 'failed'].includes(login.state)) await api.delete(url).catch(() => {})
 return login.state === 'done'
}
