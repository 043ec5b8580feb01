// The frame of the page: navigation, sign-in, messages; it loads one page at a time.
import { api, ApiError, button, byId, confirm, dialog, enc, events, failure, field, h, icon, iconButton, input, lang, LANGUAGES, loading, put, session, t, toast, unsaved } from './kit.js'
const GROUPS = [
 ['nav.watch', ['overview', 'requests', 'logs']],
 ['nav.configure', ['providers', 'routing', 'transformers', 'presets', 'statusline', 'settings', 'raw']],
 ['nav.system', ['signin', 'plugins', 'health']],
]
const NAMES = GROUPS.flatMap(group => group[1])

let current = null
let shownHash = null
let extra = []
let version = ''

const parse = hash => {
 const [path, search] = hash.replace(/^#\/?/, '').split('?')
 const [name, ...params] = path.split('/').map(decodeURIComponent)
 return { name: name || 'overview', params, query: new URLSearchParams(search) }
}

// --- the frame

function frame() {
 const side = h('aside.side', { id: 'side' })
 const main = h('main', { id: 'main', tabindex: '-1' })
 const opener = iconButton('menu', t('nav.menu'), () => openSide(side.dataset.open !== 'yes'), { 'aria-expanded': 'false', 'aria-controls': 'side' })
 opener.id = 'opener'
 put(document.body,
  h('a.skip', { href: '#main', onclick: event => { event.preventDefault(); main.focus() } }, t('nav.skip')),
  h('header.top', opener, h('a.brand', { href: '#/overview' }, logo(), 'ccr'), h('span.top-title', { id: 'where' })),
  side,
  h('div.scrim', { onclick: () => openSide(false) }),
  h('div.stage', h('div.notice.bad.offline', { id: 'offline', role: 'alert', hidden: true }, icon('warn'), t('offline')), main),
  h('div', { id: 'toasts', role: 'status', 'aria-live': 'polite' }))
 nav()
}

function openSide(open) {
 const side = byId('side')
 side.dataset.open = open ? 'yes' : 'no'
 byId('opener').setAttribute('aria-expanded', String(open))
 if (open) side.querySelector('a')?.focus()
}

const logo = () => h('img.logo', { src: 'icon.svg', alt: '', width: 26, height: 26 })

function nav() {
 const here = parse(location.hash).name
 const item = (href, name, text) => h('li', h('a', { href, 'aria-current': href === `#/${here}` || href === `#/page/${parse(location.hash).params[0]}` && here === 'page' ? 'page' : null }, icon(name), h('span', text)))
 put(byId('side'),
  h('a.brand', { href: '#/overview' }, logo(), h('span', 'ccr'), version ? h('small', version) : null),
  h('nav', { label: t('nav.label') }, [...GROUPS, ...(extra.length ? [['nav.more', extra]] : [])].map(([title, names]) => [
   h('h2', t(title)), h('ul', names.map(name => typeof name === 'string' ? item(`#/${name}`, name, t(`nav.${name}`)) : item(`#/page/${enc(name.name)}`, 'page', name.title))),
  ])),
  h('div.side-foot', themePicker(), languagePicker(),
   session.token ? button([icon('out'), t('sign-out')], signOut, 'quiet') : null))
}

function themePicker() {
 const set = value => {
  document.documentElement.dataset.theme = value
  try { localStorage.setItem('ccr.theme', value) } catch { /* a private window */ }
 }
 return h('label.pick', h('span', t('theme')), h('select', { value: document.documentElement.dataset.theme, onchange: event => set(event.target.value) },
  ['auto', 'light', 'dark'].map(it => h('option', { value: it }, t(`theme.${it}`)))))
}

function languagePicker() {
 return h('label.pick', h('span', t('language')), h('select', { value: lang(), onchange: event => {
  if (unsaved()) { event.target.value = lang(); return toast(t('language.unsaved'), 'warn') }
  document.documentElement.lang = event.target.value
  try { localStorage.setItem('ccr.lang', event.target.value) } catch { /* a private window */ }
  frame()
  show(true)
 } }, LANGUAGES.map(([value, name]) => h('option', { value, lang: value }, name))))
}

// --- the session

async function open(secret) {
 const answer = await api.post('/api/session', secret)
 session.token = answer.token
 await welcome()
}

async function welcome() {
 const [about, pages] = await Promise.all([api.get('/api/session').catch(() => ({})), api.get('/api/pages').catch(() => ({ pages: [] }))])
 version = about.version && !/^[0-9a-f]{16,}/.test(about.version) ? about.version : version
 extra = (pages.pages ?? []).filter(it => it.title && it.script)
 nav()
}

async function signOut() {
 if (unsaved() && !await confirm(t('leave.title'), t('leave.text'), t('leave.yes'))) return
 await api.delete('/api/session').catch(() => {})
 session.token = null
 current?.abort()
 signIn()
}

function signInForm(done, note) {
 const problem = h('p.error', { role: 'alert' })
 let token = ''
 return h('form.sign-in', { onsubmit: async event => {
  event.preventDefault()
  problem.textContent = ''
  try {
   await open({ token: token.trim() })
   done()
  } catch (error) {
   problem.textContent = error.message
  }
 } },
 note ? h('p.notice.warn', { role: 'status' }, note) : null,
 h('p', t('session.how')), h('pre.code', 'ccr ui'), h('p', t('session.or')),
 field(t('session.token'), input('', value => { token = value }, { type: 'password', autocomplete: 'off', required: true }), { hint: t('session.hint') }),
 problem, h('div.buttons', h('button.primary', { type: 'submit' }, t('signin.go'))))
}

function signIn(note) {
 current?.abort()
 shownHash = null
 document.body.dataset.signedIn = 'no'
 document.title = `${t('session.title')} · ccr`
 const main = byId('main')
 put(main, h('div.gate', h('div.card', h('h1', { tabindex: '-1' }, logo(), t('session.title')), signInForm(() => show(true), note))))
 main.querySelector('h1').focus()
 nav()
}

events.addEventListener('signed-out', () => {
 if (!unsaved()) return signIn(t('session.ended'))
 // What was typed stays on the page behind this.
 if (!document.querySelector('dialog[data-sign-in]')) {
  dialog(t('session.title'), finish => signInForm(() => finish(true), t('session.ended-unsaved')))
  document.querySelector('dialog:last-of-type').dataset.signIn = 'yes'
 }
})
events.addEventListener('offline', () => { byId('offline').hidden = false })
events.addEventListener('online', () => { byId('offline').hidden = true })

// --- pages

async function show(again = false) {
 if (location.hash === shownHash && !again) return
 if (shownHash !== null && location.hash !== shownHash && unsaved()) {
  const wanted = location.hash
  history.replaceState(null, '', shownHash)
  nav()
  if (!await confirm(t('leave.title'), t('leave.text'), t('leave.yes'))) return
  history.replaceState(null, '', wanted)
 }
 current?.abort()
 if (!session.token) return signIn()
 document.body.dataset.signedIn = 'yes'
 const arriving = shownHash === null
 shownHash = location.hash
 openSide(false)
 const controller = current = new AbortController()
 const { name, params, query } = parse(location.hash)
 const main = byId('main')
 const root = h('div.page')
 const here = name === 'page' ? extra.find(it => it.name === params[0]) : null
 const page = { get: path => api.get(path, { signal: controller.signal }), root, params, query, signal: controller.signal, api, t, again: () => show(true), go: hash => { location.hash = hash },
  draw: (head, ...kids) => put(root, page.head(...head), kids),
  head(title, text, ...actions) {
   document.title = `${title} · ccr`
   byId('where').textContent = title
   return h('header.page-head', h('div', h('h1', { tabindex: '-1' }, title), text ? h('p.lead', text) : null), actions.length ? h('div.actions', actions) : null)
  } }
 nav()
 put(main, put(root, loading()))
 try {
  if (here) await third(page, here)
  else if (NAMES.includes(name)) await (await import(`./views/${name}.js`)).default(page)
  else put(root, page.head(t('not-found.title'), t('not-found.text')))
 } catch (error) {
  if (error.name === 'AbortError' || controller.signal.aborted) return
  if (error.status === 401) return
  put(root, page.head(here?.title ?? (NAMES.includes(name) ? t(`nav.${name}`) : name)), failure(error, () => show(true)))
  if (!(error instanceof ApiError) && !error.problems) console.error(error)
 }
 const heading = root.querySelector('h1')
 if (heading && !arriving && !root.contains(document.activeElement)) heading.focus({ preventScroll: true })
 scrollTo(0, 0)
}

/** A page that a plugin brings: a module whose default export is called with an element and what it may use. */
async function third(page, about) {
 const place = h('div')
 put(page.root, page.head(about.title), place)
 const module = await import(about.script)
 await module.default(place, { api, t, signal: page.signal })
}

addEventListener('hashchange', async () => {
 if (await code()) return
 show()
})

/** The one-time code of `ccr ui`: exchanged, and removed from the address before anything else happens. */
async function code() {
 const found = /^#code=(.+)$/.exec(location.hash)
 if (!found) return false
 history.replaceState(null, '', `${location.pathname}#/overview`)
 try {
  await open({ code: decodeURIComponent(found[1]) })
  show(true)
 } catch (error) {
  if (session.token) show(true)
  else signIn(error.status === 0 ? error.message : t('session.old-link'))
 }
 return true
}

addEventListener('keydown', event => { if (event.key === 'Escape') openSide(false) })

frame()
if (!await code()) {
 if (session.token) {
  await welcome()
  show()
 } else signIn()
}
