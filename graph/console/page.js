// The stock console: products with their levels as they change, their histories in pictures, and a report over all of them.
// The address names what is shown (#/products/<id>?span=7d, #/report?days=30), so it can be sent to somebody.

import { Refused, ask, download, follow, token } from './api.js';
import { history } from './charts.js';

const main = document.querySelector('main');
const number = new Intl.NumberFormat();
const instant = new Intl.DateTimeFormat(undefined, { dateStyle: 'medium', timeStyle: 'medium', timeZone: 'UTC' });
const hour = 3_600_000, day = 24 * hour;
const spans = {
  '24h': { label: '24 hours', length: day, interval: 'HOUR' },
  '7d': { label: '7 days', length: 7 * day, interval: 'HOUR' },
  '30d': { label: '30 days', length: 30 * day, interval: 'DAY' },
  '90d': { label: '90 days', length: 90 * day, interval: 'DAY' },
  '1y': { label: 'a year', length: 365 * day, interval: 'DAY' },
};

// el makes an element. Texts are set as texts, so nothing that a product is called becomes markup.
function el(tag, attributes = {}, ...children) {
  const e = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith('on')) e.addEventListener(name.slice(2), value);
    else if (value !== undefined && value !== null && value !== false) e.setAttribute(name, value === true ? '' : value);
  }
  e.append(...children.flat().map((c) => c ?? ''));
  return e;
}

const words = (constant) => constant.toLowerCase().replaceAll('_', ' ');
const dot = (status) => el('span', { class: `dot ${status}` }, words(status));
const time = (text) => el('time', { datetime: text, title: `${text} (UTC)` }, instant.format(new Date(text)));
const table = (head, rows) => el('div', { class: 'scroll' }, el('table', {}, el('thead', {}, el('tr', {}, head)), el('tbody', {}, rows)));
const cell = (value) => el('td', { class: typeof value === 'number' ? 'number' : '' }, typeof value === 'number' ? number.format(value) : value);

function duration(seconds) {
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3600) return `${Math.round(seconds / 60)} min`;
  return seconds < 48 * 3600 ? `${(seconds / 3600).toFixed(1)} h` : `${(seconds / 86_400).toFixed(1)} days`;
}

// fault shows why something isn't shown, and opens the field for a token where that is what lacks.
function fault(error) {
  const refused = error instanceof Refused;
  if (refused && ['UNAUTHENTICATED', 'FORBIDDEN'].includes(error.code)) document.getElementById('access').open = true;
  return el('p', { class: 'fault', role: 'alert' }, refused ? error.message : 'The service could not be reached. Reload to try again.');
}

// into fills an element with what a promise comes to, or with why it didn't.
async function into(parent, promise, signal) {
  parent.setAttribute('aria-busy', 'true');
  try {
    parent.replaceChildren(...[await promise].flat());
  } catch (error) {
    if (!signal.aborted) parent.replaceChildren(fault(error));
  }
  parent.removeAttribute('aria-busy');
}

// pages appends rows page by page: load(after) returns { rows, pageInfo }.
function pages(list, load) {
  const more = el('button', { hidden: true, onclick: () => next(more.dataset.after) }, 'More');
  async function next(after) {
    const { rows, pageInfo } = await load(after || null);
    list.append(...rows);
    more.dataset.after = pageInfo.endCursor ?? '';
    more.hidden = !pageInfo.hasNextPage;
  }
  return { more, next };
}

// ---- Products

const filter = { search: '', status: '' };

// productList is made once for as long as products are shown, so that it keeps its pages and its place.
function productList(signal) {
  const list = el('ul', { class: 'list' }), count = el('p', { class: 'quiet', 'aria-live': 'polite' });
  const { more, next } = pages(list, async (after) => {
    const { products } = await ask('products', { search: filter.search, status: filter.status || null, after }, signal);
    count.textContent = `${number.format(products.totalCount)} products`;
    return { pageInfo: products.pageInfo, rows: products.nodes.map(productItem) };
  });
  const load = () => {
    list.replaceChildren();
    next().catch((error) => signal.aborted || list.replaceChildren(el('li', {}, fault(error))));
  };
  let pause;
  const search = el('input', {
    type: 'search', placeholder: 'Name or SKU', 'aria-label': 'Search by name or SKU', value: filter.search, maxlength: 200,
    oninput: () => { filter.search = search.value; clearTimeout(pause); pause = setTimeout(load, 200); },
  });
  const status = el('select', { 'aria-label': 'Stock status', onchange: () => { filter.status = status.value; load(); } },
    el('option', { value: '' }, 'Any stock'),
    ['IN_STOCK', 'LOW_STOCK', 'OUT_OF_STOCK'].map((s) => el('option', { value: s, selected: s === filter.status }, words(s))));
  load();
  return el('aside', {}, search, status, count, list, more);
}

function productItem(p) {
  const href = `#/products/${p.id}`;
  return el('li', {}, el('a', { href, 'aria-current': location.hash.startsWith(href) && 'true' },
    el('span', { class: 'row' }, el('span', { class: `dot ${p.stockStatus}`, title: words(p.stockStatus) }, p.name), el('b', {}, number.format(p.stock.available))),
    el('meter', { min: 0, max: Math.max(p.stock.total, 1), value: p.stock.available, title: `${p.stock.available} of ${p.stock.total} available` })));
}

async function product(id, span, signal) {
  const { product: p } = await ask('product', { id }, signal);
  if (!p) return el('p', {}, 'There is no product with this id.');
  const live = el('p', { class: 'quiet', 'aria-live': 'polite' });
  const figures = ['available', 'reserved', 'total'].map((name) => [name, el('b')]);
  const show = (stock) => figures.forEach(([name, value]) => { value.textContent = number.format(stock[name]); });
  show(p.stock);
  follow('stock', { ids: [id] }, signal, ({ stockChanged: s }) => s && show(s),
    (on, refused = 'the connection is made again') => { live.textContent = on ? 'Live: the figures change as the stock does.' : `Not live: ${refused}.`; });
  const pictures = el('div'), moves = el('div');
  into(pictures, timeline(p, span, pictures, signal), signal);
  into(moves, movements(id, signal), signal);
  return [
    el('h2', {}, p.name), el('p', {}, dot(p.stockStatus), ' · ', p.isOrderable ? 'can be ordered' : 'can’t be ordered'), el('p', {}, p.description),
    el('div', { class: 'figures' }, figures.map(([name, value]) => el('div', {}, value, name))), live,
    el('h3', {}, 'Variants'), variants(p.variants),
    el('h3', {}, 'History'), spanTools(id, span), pictures,
    el('h3', {}, 'Movements'), exportTools(id, span), moves,
  ];
}

function variants(list) {
  if (list.length === 0) return el('p', { class: 'quiet' }, 'It has none.');
  return table([el('th', {}, 'SKU'), el('th', {}, 'Name'), el('th', { class: 'number' }, 'Level'), el('th', {}, 'Said by the Inventory Service')],
    list.map((v) => el('tr', {}, cell(v.sku), cell([v.name, ...v.attributes.map((a) => `${a.name}: ${a.value}`)].join(' · ')),
      cell(v.inventory ? v.inventory.availableQuantity : '–'),
      cell(v.inventory ? level(v.inventory) : 'nothing is known'))));
}

function level(l) {
  return el('span', {}, dot(l.status), ` ${duration(l.ageSeconds)} ago`, l.isStale ? el('b', {}, ', stale') : '');
}

function spanTools(id, span) {
  return el('p', { class: 'tools' }, Object.entries(spans).map(([key, s]) => el('button', {
    'aria-pressed': String(key === span), onclick: () => { location.hash = `#/products/${id}?span=${key}`; },
  }, s.label)));
}

function exportTools(id, span) {
  const query = `productId=${id}&from=${new Date(Date.now() - spans[span].length).toISOString()}`;
  const button = (kind, format) => el('button', {
    onclick: (e) => download(`/export/${kind}?${query}&format=${format}`, `${kind}.${format}`).catch((error) => e.target.after(fault(error))),
  }, `${words(kind.replace('stock-', ''))} as ${format}`);
  return el('p', { class: 'tools' }, 'Of this span: ', ['stock-movements', 'stock-days'].flatMap((kind) => ['csv', 'ndjson', 'parquet'].map((format) => button(kind, format))));
}

async function timeline(p, span, parent, signal) {
  const { length, interval } = spans[span], now = Date.now();
  const { stockTimeline: buckets } = await ask('timeline', {
    id: p.id, from: new Date(now - length).toISOString(), to: new Date(now).toISOString(), interval,
  }, signal);
  const refused = buckets.reduce((sum, b) => sum + b.refusedQuantity, 0), out = buckets.reduce((sum, b) => sum + b.outOfStockSeconds, 0);
  const place = el('div');
  requestAnimationFrame(() => history(place, buckets, p.lowStockThreshold));
  return [el('p', {}, `In this span nothing was available for ${duration(out)}, and requests for ${number.format(refused)} units were refused.`), place];
}

async function movements(id, signal) {
  const rows = el('tbody');
  const { more, next } = pages(rows, async (after) => {
    const { stockMovements: page } = await ask('movements', { id, after }, signal);
    return { pageInfo: page.pageInfo, rows: page.nodes.map((m) => el('tr', {}, cell(time(m.occurredAt)), cell(words(m.type)), cell(m.delta),
      cell(m.availableAfter), cell(m.reservedAfter), cell(m.totalAfter), cell([m.reason, m.actor && `by ${m.actor}`, m.reservationId && `reservation ${m.reservationId}`].filter(Boolean).join(', ')))) };
  });
  await next();
  const head = [el('th', {}, 'When (UTC)'), el('th', {}, 'What'), ...['Change', 'Available', 'Reserved', 'Total'].map((t) => el('th', { class: 'number' }, t)), el('th', {}, 'Why')];
  return [el('div', { class: 'scroll' }, el('table', {}, el('thead', {}, el('tr', {}, head)), rows)), more];
}

// ---- The report

const figuresOfReport = [
  ['REFUSED', 'refusedQuantity', 'Refused units'], ['RESERVED', 'reservedQuantity', 'Reserved'], ['RELEASED', 'releasedQuantity', 'Released'],
  ['EXPIRED', 'expiredQuantity', 'Expired'], ['OUT_OF_STOCK_TIME', 'outOfStockSeconds', 'Out of stock'], ['MOVEMENTS', 'movements', 'Movements'],
];

async function report(days, field, signal) {
  const to = new Date(), from = new Date(to - (days - 1) * day);
  const rows = el('tbody'), count = el('span', { class: 'quiet' });
  const most = {};
  const { more, next } = pages(rows, async (after) => {
    const { stockReport: page } = await ask('report', {
      from: from.toISOString(), to: to.toISOString(), field, direction: field === 'NAME' ? 'ASC' : 'DESC', after,
    }, signal);
    count.textContent = `${number.format(page.totalCount)} products`;
    if (!after) for (const [, name] of figuresOfReport) most[name] = Math.max(1, ...page.nodes.map((r) => r[name]));
    return { pageInfo: page.pageInfo, rows: page.nodes.map((r) => el('tr', {},
      cell(el('a', { href: `#/products/${r.productId}?span=${days > 7 ? '30d' : '7d'}` }, r.product?.name ?? r.productId)),
      cell(r.opening), cell(r.closing), figuresOfReport.map(([, name]) => el('td', { class: 'number' },
        name === 'outOfStockSeconds' ? duration(r[name]) : number.format(r[name]), el('meter', { min: 0, max: most[name], value: Math.min(r[name], most[name]) }))))) };
  });
  await next();
  const by = (key, label, number) => el('th', { class: number && 'number', 'aria-sort': key === field && 'descending' },
    el('button', { onclick: () => { location.hash = `#/report?days=${days}&by=${key}`; } }, label, key === field ? ' ▾' : ''));
  const head = [by('NAME', 'Product'), el('th', { class: 'number' }, 'Opening'), el('th', { class: 'number' }, 'Closing'),
    ...figuresOfReport.map(([key, , label]) => by(key, label, true))];
  return [
    el('h2', {}, 'What happened to the stock'),
    el('p', { class: 'tools' }, [1, 7, 30, 90, 365].map((n) => el('button', {
      'aria-pressed': String(n === days), onclick: () => { location.hash = `#/report?days=${n}&by=${field}`; },
    }, n === 1 ? 'Today' : `${n} days`)), ' whole days of UTC ', count),
    el('div', { class: 'scroll' }, el('table', {}, el('thead', {}, el('tr', {}, head)), rows)), more,
  ];
}

// ---- Which page is shown

let shown = new AbortController(); // ends what the section asks for
let listed = new AbortController(); // ends what the list beside it asks for

function route() {
  shown.abort();
  shown = new AbortController();
  const { signal } = shown;
  const [path, query] = location.hash.slice(1).split('?');
  const [, page, id] = path.split('/');
  const options = new URLSearchParams(query);
  const section = el('section');
  main.classList.toggle('wide', page === 'report');
  if (page === 'report') {
    listed.abort();
    main.replaceChildren(section);
    const field = options.get('by') === 'NAME' ? 'NAME' : figuresOfReport.find(([key]) => key === options.get('by'))?.[0] ?? 'REFUSED';
    const days = Math.min(Math.max(Math.trunc(options.get('days')) || 7, 1), 3660);
    into(section, report(days, field, signal), signal);
    return;
  }
  if (main.querySelector('aside')) {
    main.querySelector('section').replaceWith(section);
    for (const a of main.querySelectorAll('.list a')) a.ariaCurrent = a.hash === `#/products/${id}` ? 'true' : null;
  } else {
    listed = new AbortController();
    main.replaceChildren(productList(listed.signal), section);
  }
  if (id) into(section, product(id, spans[options.get('span')] ? options.get('span') : '7d', signal), signal);
  else section.append(el('p', { class: 'quiet' }, 'Choose a product to see its stock, its variants and its history.'));
}

document.querySelector('#access form').addEventListener('submit', (event) => {
  event.preventDefault();
  token.set(document.getElementById('token').value);
  document.getElementById('token').value = '';
  document.getElementById('access').open = false;
  main.replaceChildren();
  route();
});
addEventListener('hashchange', route);
route();
