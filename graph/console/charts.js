// The pictures of a product's history, drawn by uPlot: what was available, and what was asked for.

const utc = (seconds) => uPlot.tzDate(new Date(seconds * 1000), 'Etc/UTC');
const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

function chart(parent, height, title, series, data, more = {}) {
  const axis = { stroke: colour('--quiet'), grid: { stroke: colour('--line'), width: 1 }, ticks: { show: false } };
  const plot = new uPlot({
    title, height, width: Math.max(parent.clientWidth, 300), tzDate: utc, series: [{ label: 'UTC', value: '{YYYY}-{MM}-{DD} {HH}:{mm}' }, ...series],
    axes: [axis, { ...axis, size: 60 }], cursor: { sync: { key: 'history' } }, ...more,
  }, data, parent);
  new ResizeObserver(() => plot.setSize({ width: Math.max(parent.clientWidth, 300), height })).observe(parent);
  return plot;
}

// history draws the buckets of a timeline. Each bucket's figures stand at its start.
export function history(parent, buckets, threshold) {
  const of = (name) => buckets.map((b) => b[name]);
  const at = buckets.map((b) => Date.parse(b.start) / 1000);
  const band = colour('--band');
  const bars = uPlot.paths.bars({ size: [0.8, 24] });
  const steps = uPlot.paths.stepped({ align: 1 });
  return [
    chart(parent, 260, 'Available: what was left, and its lowest and highest', [
      { label: 'highest', stroke: band, paths: steps, points: { show: false } },
      { label: 'lowest', stroke: band, paths: steps, points: { show: false } },
      { label: 'at the end', stroke: colour('--strong'), width: 2, paths: steps, points: { show: false } },
      { label: 'low stock', stroke: colour('--low'), dash: [4, 4], points: { show: false } },
    ], [at, of('maxAvailable'), of('minAvailable'), of('closing'), at.map(() => threshold)], {
      bands: [{ series: [1, 2], fill: band }], scales: { y: { range: (_, __, max) => [0, Math.max(max, 1) * 1.05] } },
    }),
    chart(parent, 180, 'Demand: units reserved, and above them units refused for want of stock', [
      { label: 'refused', value: (_, __, ___, i) => i === null ? '--' : buckets[i].refusedQuantity, stroke: colour('--out'), fill: colour('--out'), paths: bars, points: { show: false } },
      { label: 'reserved', stroke: colour('--in'), fill: colour('--in'), paths: bars, points: { show: false } },
      { label: 'hours out of stock', scale: 'none', stroke: 'transparent', points: { show: false } },
    ], [at, buckets.map((b) => b.reservedQuantity + b.refusedQuantity), of('reservedQuantity'), buckets.map((b) => +(b.outOfStockSeconds / 3600).toFixed(2))], {
      scales: { y: { range: (_, __, max) => [0, Math.max(max, 1) * 1.05] } },
    }),
  ];
}
