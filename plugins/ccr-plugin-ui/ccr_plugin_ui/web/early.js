// Before anything is painted: the colour scheme and the language that were chosen in this browser.
{
  const root = document.documentElement
  try {
    root.dataset.theme = localStorage.getItem('ccr.theme') || 'auto'
    root.lang = localStorage.getItem('ccr.lang') || (/^zh\b/i.test(navigator.language) ? 'zh' : 'en')
  } catch { root.dataset.theme = 'auto' }
}
