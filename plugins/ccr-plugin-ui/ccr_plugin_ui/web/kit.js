// All that pages are built with, to be imported in one line.
export * from './api.js'
export * from './charts.js'
export * from './dom.js'
export * from './draft.js'
export * from './forms.js'
export * from './i18n.js'
