// Presets: configurations of their own with questions. Nothing is installed before it was shown what it brings.
import { api, badge, busy, button, card, code, confirm, dialog, doing, dump, empty, enc, facts, field, h, input, json, linkButton, loading, put, questionsForm, t, tabs, toast } from '../kit.js'

const url = (name, rest = '') => `/api/presets/${enc(name)}${rest}`
const head = [t('nav.presets'), t('presets.lead')]
const views = current => tabs(t('nav.presets'), ['installed', 'market', 'add'].map(it => [`#/presets/${it}`, t(`presets.${it}`), it]), current)
const SHOWN = { installed, market, add }

export default page => page.params[0] === 'of' ? one(page, page.params[1]) : SHOWN[page.params[0] ?? 'installed'](page)

const about = ({ name, version, description, author }, ...more) => h('li.card', h('div.card-head', h('h2', name), version ? badge(version) : null), h('p', description ?? ''), author ? h('p.hint', t('presets.by', { name: author })) : null, more)
const complain = (box, error) => put(box, h('ul.notice.bad', (error.problems?.length ? error.problems : [error]).map(it => h('li', it.path ? [code(it.path), ' '] : '', it.message))))
const metadata = values => facts(Object.fromEntries(Object.entries(values).map(([key, value]) => [key, String(value)])))

async function installed(page) {
 const { presets } = await page.get('/api/presets')
 page.draw(head, views('installed'), presets.length ? h('ul.providers', presets.map(it => about({ ...it, name: h('a', { href: `#/presets/of/${enc(it.name)}` }, it.title) }, it.problem ? h('p.notice.bad', it.problem) : null, it.missing.map(text => h('p.notice.warn', text)), h('pre.code', `ccr ${it.name}`))))
  : h('div.card', empty(t('presets.none'), linkButton(t('presets.add'), '#/presets/add', 'primary'))))
}

async function one(page, name) {
 const preset = await page.get(url(name))
 const form = questionsForm(preset.questions, preset.values, preset.config)
 const problems = h('div.problems', { role: 'alert' })
 page.draw([name, preset.metadata.description, button(t('remove'), doing(async () => {
  if (!await confirm(t('provider.remove', { name }), t('presets.remove.text'), t('remove'))) return
  await api.delete(url(name))
  page.go('#/presets')
 }), 'danger')],
 preset.problem ? h('p.notice.bad', preset.problem) : null,
 h('div.two.even', h('form.card', { label: t('presets.answers'), onsubmit: event => {
  event.preventDefault()
  put(problems)
  busy(event.submitter, async () => {
   try {
    const { warnings } = await api.post(url(name, '/apply'), { values: form.values() })
    toast(t('saved'))
    warnings.forEach(text => toast(text, 'warn'))
   } catch (error) { complain(problems, error) }
  })
 } }, h('h2', t('presets.answers')), preset.questions.length ? [form.element, problems, h('div.buttons', h('button.primary', { type: 'submit' }, t('presets.apply')))] : h('p.muted', t('presets.no-questions'))),
 h('div', card(t('presets.about'), [], metadata(preset.metadata), h('p', t('presets.use')), h('pre.code', `ccr ${name}`)), card(t('presets.config'), [], json(preset.config)), card(t('presets.files'), [], h('ul', preset.files.map(file => h('li', code(file))))))))
}

async function market(page) {
 page.draw(head, views('market'), loading())
 const { presets } = await page.get('/api/presets/market')
 const box = h('ul.providers')
 const draw = text => put(box, presets.filter(it => dump(it).toLowerCase().includes(text.toLowerCase())).map(it => about(it, h('p.hint', it.repository ?? ''), it.installed ? badge(t('presets.installed'), 'ok') : button(t('presets.look'), doing(() => fetched(page, { source: it.id })), 'small'))))
 page.draw(head, views('market'), field(t('providers.search'), input('', draw, { type: 'search' })), box)
 draw('')
}

function add(page) {
 const file = h('input', { type: 'file', accept: '.zip,application/zip', required: true })
 const source = input('', () => {}, { required: true, placeholder: 'https://…/preset.git' })
 const form = (title, control, what) => h('form.card', { label: title, onsubmit: event => { event.preventDefault(); busy(event.submitter, () => fetched(page, what())) } }, h('h2', title), control, h('div.buttons', h('button.primary', { type: 'submit' }, t('presets.look'))))
 page.draw(head, views('add'), h('div.two.even', form(t('presets.from-file'), field(t('presets.zip'), file, { hint: t('presets.zip.hint') }), () => file.files[0]),
  form(t('presets.from-url'), field(t('presets.source'), source, { hint: t('presets.source.hint') }), () => ({ source: source.value.trim() }))))
}

/** What was fetched is shown with its dangers, files and differences; the questions are asked; then it is installed. */
async function fetched(page, what) {
 const found = await (what instanceof File ? api.post(`/api/presets/fetch?name=${enc(what.name.replace(/\.zip$/, ''))}`, what, { type: 'application/zip' }) : api.post('/api/presets/fetch', what))
 const { name, dangers } = found
 const accept = new Set()
 const form = questionsForm(found.questions, found.values, found.config)
 const problems = h('div', { role: 'alert' })
 const refused = dangers.some(it => it.refused)
 const result = await dialog(t('presets.install', { name }), finish => {
  const go = h('button.primary', { type: 'submit', disabled: dangers.length > 0 }, t('presets.add'))
  return h('form', { onsubmit: event => {
   event.preventDefault()
   busy(event.submitter, async () => {
    try { finish(await api.post('/api/presets/install', { id: found.id, values: form.values(), accept: [...accept], replace: found.installed })) } catch (error) { complain(problems, error) }
   })
  } },
  metadata(found.metadata), found.warnings.map(text => h('p.notice.warn', text)),
  dangers.length ? h('fieldset.dangers', h('legend', t(refused ? 'presets.refused' : 'presets.dangers')), dangers.map(it => h('label', h('input', { type: 'checkbox', disabled: it.refused, onchange: event => {
   accept[event.target.checked ? 'add' : 'delete'](it.id)
   go.disabled = accept.size < dangers.length
  } }), h('span', it.text)))) : h('p.notice.ok', t('presets.no-dangers')),
  found.difference.length ? h('details', { open: true }, h('summary', t('presets.difference')), h('pre.code.diff', { tabindex: '0' }, found.difference.map(line => h(`span${{ '+': '.add', '-': '.del' }[line[0]] ?? ''}`, line)))) : null,
  h('details', h('summary', t('presets.files')), h('ul', found.files.map(file => h('li', code(file))))), h('details', h('summary', t('presets.config')), json(found.config)),
  found.questions.length ? h('div', h('h3', t('presets.answers')), form.element) : null, problems, h('div.buttons', button(t('cancel'), () => finish(null)), go))
 }, { wide: true })
 if (!result) return
 toast(t('presets.done', { name: result.name }))
 page.go(`#/presets/of/${enc(result.name)}`)
}
