// The status line of Claude Code: its modules in their order, with a picture of it as it changes.
import { api, button, card, choose, clone, combo, debounce, Draft, field, h, input, jsonArea, put, saveBar, sortable, t, toggle } from '../kit.js'
const TEXTS = { workDir: '{{workDirName}}', gitBranch: '{{gitBranch}}', model: '{{model}}', usage: '↑ {{inputTokens}} ↓ {{outputTokens}}', context: '{{contextPercent}}%', speed: '{{tokensPerSecond}} t/s', cost: '{{sessionCost}}', duration: '{{duration}}', lines: '+{{linesAdded}}/-{{linesRemoved}}' }
const ICONS = [['\u{f024b}', 'folder'], ['\ue725', 'branch'], ['\u{f06a9}', 'robot'], ...'↑ ↓ ⚡ ⏱️ 💰 📝 🪟 ~ ●'.split(' ').map(it => [it, ''])]

export default async function (page) {
 const [{ themes, variables, colors }, draft] = await Promise.all([page.get('/api/statusline'), Draft.read(page)])
 const at = (...path) => draft.get(['StatusLine', ...path])
 const set = (path, value) => draft.set(['StatusLine', ...path], value)
 const style = () => at('currentStyle') ?? 'default'
 const preview = h('div.terminal', { role: 'img' })
 const refresh = debounce(async () => {
  const { spans } = await api.post('/api/statusline/preview', { config: at() ?? {}, style: style() }, { signal: page.signal }).catch(error => ({ spans: [{ text: error.message }] }))
  put(preview, spans.map(it => {
   const span = h('span', it.text)
   Object.assign(span.style, { color: it.color ?? '', background: it.background ?? '' })
   return span
  }))
  preview.setAttribute('aria-label', `${t('status.preview')}: ${spans.map(it => it.text).join('')}`)
 }, 200)
 draft.addEventListener('change', refresh, { signal: page.signal })

 const editor = h('div')
 const drawEditor = opened => {
  const now = clone(at(style(), 'modules'))
  const write = () => set([style(), 'modules'], clone(now))
  if (!now) return void put(editor, h('p', t('status.built-in')), button(t('status.copy'), () => { set([style()], { modules: clone(themes[style()]) }); drawEditor() }, 'primary', { disabled: !themes[style()] }))
  put(editor, sortable(now, (module, place) => {
   const change = key => value => { if (value) module[key] = value; else delete module[key]; write() }
   const one = (key, control, hint) => field(t(`status.${key}`), control, { hint, path: `StatusLine.${style()}.modules[${place}].${key}` })
   const text = input(module.text, change('text'), { class: 'mono' })
   const insert = choose('', [['', t('status.insert')], ...variables.map(it => [it.name, `${it.name}: ${it.example}`])], name => { text.setRangeText(`{{${name}}}`, text.selectionStart, text.selectionEnd, 'end'); change('text')(text.value); insert.value = ''; text.focus() }, { label: t('status.insert') })
   return h('details', { open: place === opened }, h('summary', h('strong', module.type), ' ', h('small.muted', [module.icon, module.text, module.scriptPath].filter(Boolean).join(' '))), h('div.grid',
    one('type', choose(module.type, [...Object.keys(TEXTS), ...module.scriptPath ? ['script'] : []], change('type'))), one('icon', combo(module.icon, ICONS.map(([value, note]) => ({ value, note })), change('icon'))), one('text', h('div', text, insert)),
    one('color', combo(module.color, Object.keys(colors).map(value => ({ value })), change('color')), t('status.color.hint')), one('background', combo(module.background, Object.keys(colors).map(it => ({ value: `bg_${it}` })), change('background'))),
    module.scriptPath ? one('scriptPath', input(module.scriptPath, () => {}, { readOnly: true }), t('settings.owner')) : null))
  }, write, { label: t('status.modules'), name: module => module.type }),
  h('div.row.wrap', choose('', [['', t('status.add')], ...Object.keys(TEXTS)], type => { now.push({ type, text: TEXTS[type] }); write(); drawEditor(now.length - 1) }, { label: t('status.add') }), button(t('status.remove'), () => { set([style()], undefined); draw() }, 'small')),
  h('details', h('summary', 'JSON'), jsonArea({ modules: now }, value => { if (Array.isArray(value?.modules)) set([style(), 'modules'], value.modules) }, { rows: 12, label: 'JSON' })))
 }
 const draw = () => {
  const own = Object.keys(at() ?? {}).filter(key => Array.isArray(at(key, 'modules')))
  page.draw([t('nav.statusline'), t('status.lead')],
   card(t('status.preview'), [], preview, h('p.hint', t('status.preview.hint')), h('div.grid', h('div.field', toggle(t('status.enabled'), at('enabled'), value => set(['enabled'], value))),
    field(t('status.style'), choose(style(), [...new Set([...Object.keys(themes), ...own, style()])], value => { set(['currentStyle'], value); drawEditor() }), { path: 'StatusLine.currentStyle' }))),
   card(t('status.modules'), [], editor), card(t('status.install'), [], h('p', t('status.install.text')), h('pre.code', 'ccr statusline --install')), saveBar(draft, page, draw))
  drawEditor()
  refresh()
 }
 draw()
}
