// Transformers: which change requests and answers, for all, for one provider, for one model; their options as forms.
import { badge, button, card, choose, clone, combo, Draft, dump, field, h, jsonArea, optionsForm, pathText, put, saveBar, sortable, t } from '../kit.js'
const nameOf = step => Array.isArray(step) ? step[0] : step
const optionsOf = step => Array.isArray(step) ? step[1] ?? {} : {}
const make = (name, options) => Object.keys(options).length ? [name, clone(options)] : name

export default async function (page) {
 const [answer, { models }, draft] = await Promise.all([page.get('/api/transformers'), page.get('/api/models'), Draft.read(page)])
 const every = [...answer.transformers, ...answer.custom.flatMap(it => it.transformers)]
 const byName = new Map(every.flatMap(it => [it.name, ...it.aliases].map(name => [name, it])))
 const wanted = page.params[0]

 const form = (about, options, write, path) => !about || about.free
  ? field(t('transformers.options'), jsonArea(options, values => write(values ?? {}), { rows: 4 }), { path }) : optionsForm(about.options, options, write, { path, models })

 /** One chain: the steps at `path` (…, "use"). */
 const chain = (title, path) => {
  const box = h('div')
  const write = now => {
   draft.set(path, now.length ? clone(now) : undefined)
   // A block that has become empty goes with its last step.
   for (let end = path.length - 1; end && !Object.keys(draft.get(path.slice(0, end)) ?? { x: 1 }).length; end -= 1) draft.set(path.slice(0, end), undefined)
  }
  const draw = opened => {
   const now = clone(draft.get(path) ?? [])
   const picker = combo('', [...byName.keys()].map(value => ({ value, note: byName.get(value).summary.slice(0, 60) })), () => {}, { label: `${t('transformers.add')}: ${title}`, placeholder: t('transformers.choose') })
   const add = () => {
    const name = picker.querySelector('input').value.trim()
    if (name) { now.push(name); write(now); draw(now.length - 1) }
   }
   put(box, now.length ? sortable(now, (step, place) => {
    const about = byName.get(nameOf(step))
    return h('details', { open: opened === place, data: { step: nameOf(step) } }, h('summary', h('strong', nameOf(step)), ' ', Object.keys(optionsOf(step)).length ? h('small.muted', dump(optionsOf(step)).slice(0, 80)) : null, about ? null : badge(t('routing.rules.unknown'), 'bad')),
     h('p.hint', about?.summary ?? ''), form(about, optionsOf(step), values => { now[place] = make(nameOf(step), values); write(now) }, pathText([...path, place, 1])))
   }, () => write(now), { label: title, name: nameOf }) : h('p.muted', t('transformers.empty')),
   h('div.row', picker, button(t('add'), add, 'small', { label: `${t('add')}: ${title}` })))
  }
  draw()
  return h('div.sub', h('h3', title), box)
 }

 const provider = (entry, place) => {
  const path = [draft.key('Providers', 'providers'), place, 'transformer']
  const special = Object.keys(entry.transformer ?? {}).filter(key => key !== 'use')
  const others = (entry.models ?? []).map(it => it?.name ?? it).filter(name => !special.includes(name))
  const more = h('div')
  return h('details.card', { open: wanted ? wanted === entry.name : Boolean(entry.transformer) }, h('summary', h('h2', entry.name), h('small.muted', [...(entry.transformer?.use ?? []).map(nameOf), ...special].join(', '))),
   chain(t('transformers.all-models'), [...path, 'use']), special.map(model => chain(model, [...path, model, 'use'])), more,
   others.length ? choose('', [['', t('transformers.for-model')], ...others], model => { if (model) more.append(chain(model, [...path, model, 'use'])) }, { label: t('transformers.for-model') }) : null)
 }

 const custom = () => {
  const now = clone(draft.get(['transformers']) ?? [])
  const write = () => draft.set(['transformers'], now.length ? clone(now) : undefined)
  return h('div', now.length ? sortable(now, entry => {
   const about = answer.custom.find(it => it.path === entry.path)
   return h('div', h('strong.break', entry.path), about?.error ? h('p.notice.bad', about.error) : h('p.hint', (about?.transformers ?? []).map(it => it.name).join(', ')),
    h('details', h('summary', t('transformers.options')), form(about?.transformers[0], entry.options ?? {}, values => { if (Object.keys(values).length) entry.options = clone(values); else delete entry.options; write() }, pathText(['transformers', now.indexOf(entry), 'options']))))
  }, write, { label: t('transformers.files'), name: entry => entry.path }) : h('p.muted', t('transformers.files.none')), h('p.notice.info', t('transformers.files.where')))
 }

 const draw = () => page.draw([t('nav.transformers'), t('transformers.lead')],
  draft.providers.map(provider), card(t('transformers.everyone'), [], chain(t('transformers.everyone.chain'), ['transformer', 'use'])),
  card(t('transformers.files'), [], custom()),
  saveBar(draft, page, draw))
 draw()
}
