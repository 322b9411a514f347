/** A picture of load curves: time over rate, both logarithmic. */
import { rates, type Point } from './curve';

/** The curve of a side. */
export interface Curve {
  readonly name: string;
  readonly points: readonly Point[];
}

const size = { width: 760, height: 470 };
const plot = { left: 62, right: 740, top: 84, bottom: 396 };

/** Of each side in turn, in light and in dark; told apart without colours by the shapes. */
const colours = [
  { light: '#b34700', dark: '#ff9f5c' },
  { light: '#0b62c4', dark: '#6fb1ff' },
  { light: '#7d35a8', dark: '#d3a0ff' },
  { light: '#0f7a45', dark: '#56d291' },
  { light: '#b0123f', dark: '#ff8aa6' },
] as const;
const shapes = [
  'M-5 0a5 5 0 1 0 10 0a5 5 0 1 0-10 0z',
  'M-4.5-4.5h9v9h-9z',
  'M0-5.5L5.5 4.5h-11z',
  'M0-6L6 0L0 6L-6 0z',
  'M0 5.5L5.5-4.5h-11z',
] as const;

/**
 * An SVG of its own colours, dark where its reader prefers that. A thick line is a side's p99, the thin
 * one its p50; both end at the last rate that it holds, and a cross is the p99 at the rate that it does
 * not.
 */
export function drawCurves(curves: readonly Curve[]): string {
  const axis = timeAxis(
    curves.flatMap(({ points }) => points.flatMap(({ p50, p99 }) => [p50, p99])),
  );
  const y = axis.positionOf;
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${size.width} ${size.height}" role="img" aria-label="Time from an event to its effects over the rate of events">
<style>${style}</style>
<rect class="ground" width="${size.width}" height="${size.height}" rx="6"/>
<text class="title" x="16" y="26">Time from an event to its effects, ms</text>
${curves.map(legend).join('\n')}
${axis.ticks.map((ms) => tickOfTime(ms, y(ms))).join('\n')}
${rates.map(tickOfRate).join('\n')}
<text x="${(plot.left + plot.right) / 2}" y="${plot.bottom + 38}" text-anchor="middle">events per second</text>
<text class="key" x="${plot.left}" y="${size.height - 12}">thick: p99 · thin: p50 · ✕: more comes than goes, and no higher rate is tried</text>
${curves.map((curve, index) => lines(curve, index, y)).join('\n')}
</svg>
`;
}

const style = `
text { font: 12px system-ui, -apple-system, 'Segoe UI', sans-serif; fill: #3d4450; }
.tick { font-size: 11px; }
.title { font-size: 15px; font-weight: 600; fill: #14181f; }
.name { font-weight: 600; fill: #14181f; }
.ground { fill: #ffffff; }
.grid { stroke: #dfe3e8; }
path { fill: none; stroke-linejoin: round; }
.p99 { stroke-width: 2.5; }
.p50 { stroke-width: 1.2; opacity: 0.75; }
.broken { stroke-width: 2; stroke-dasharray: 3 4; }
.cross { stroke-width: 3; }
${colours.map(({ light }, side) => colourOf(side, light)).join('\n')}
@media (prefers-color-scheme: dark) {
text { fill: #b3bcc8; }
.title, .name { fill: #f0f3f6; }
.ground { fill: #0d1117; }
.grid { stroke: #2a313a; }
${colours.map(({ dark }, side) => colourOf(side, dark)).join('\n')}
}
`;

function colourOf(side: number, colour: string): string {
  return `.side${side} { stroke: ${colour}; } .mark.side${side} { fill: ${colour}; }`;
}

function legend({ name, points }: Curve, side: number): string {
  const left = 16 + side * 148;
  const highest = points.findLast(({ held }) => held)?.rate;
  const held = highest === undefined ? 'no rate held' : `holds ${highest.toLocaleString('en')}/s`;
  return [
    `<path class="p99 side${side}" d="M${left} 48h24"/>`,
    mark(side, left + 12, 48),
    `<text class="name" x="${left + 32}" y="52">${name}</text>`,
    `<text x="${left + 32}" y="68">${held}</text>`,
  ].join('');
}

function tickOfTime(ms: number, y: number): string {
  return [
    `<path class="grid" d="M${plot.left} ${y}H${plot.right}"/>`,
    `<text class="tick" x="${plot.left - 8}" y="${round(y + 4)}" text-anchor="end">${ms.toLocaleString('en')}</text>`,
  ].join('');
}

function tickOfRate(rate: number): string {
  const x = positionOf(rate);
  return [
    `<path class="grid" d="M${x} ${plot.top}V${plot.bottom}"/>`,
    `<text class="tick" x="${x}" y="${plot.bottom + 18}" text-anchor="middle">${rate.toLocaleString('en')}</text>`,
  ].join('');
}

function lines({ points }: Curve, side: number, y: (ms: number) => number): string {
  const held = points.filter((point) => point.held);
  const broken = points.find((point) => !point.held);
  const at = (rate: number, ms: number): string => `${positionOf(rate)} ${y(ms)}`;
  const line = (ofClass: string, places: readonly string[]): string =>
    `<path class="${ofClass} side${side}" d="M${places.join('L')}"/>`;
  const p99 = held.map((point) => at(point.rate, point.p99));
  return [
    ...(held.length < 2
      ? []
      : [
          line(
            'p50',
            held.map((point) => at(point.rate, point.p50)),
          ),
          line('p99', p99),
        ]),
    ...held.map((point) => mark(side, positionOf(point.rate), y(point.p99))),
    ...(broken === undefined
      ? []
      : [
          line('broken', [...p99.slice(-1), at(broken.rate, broken.p99)]),
          `<path class="cross side${side}" d="M${at(broken.rate, broken.p99)}m-6-6l12 12m0-12l-12 12"/>`,
        ]),
  ].join('');
}

function mark(side: number, x: number, y: number): string {
  return `<path class="mark side${side}" transform="translate(${x} ${y})" d="${shapes[side]!}"/>`;
}

/** Of a rate, from left to right. */
function positionOf(rate: number): number {
  const share = Math.log(rate / rates[0]) / Math.log(rates.at(-1)! / rates[0]);
  return round(plot.left + 14 + share * (plot.right - plot.left - 28));
}

const roundTimes = [1, 2, 5];

/** Round times from below the shortest to above the longest, at least from 10 ms to a second. */
function timeAxis(times: readonly number[]): {
  readonly ticks: readonly number[];
  positionOf(ms: number): number;
} {
  const [shortest, longest] = [Math.min(10, ...times), Math.max(1_000, ...times)];
  const all = [0.1, 1, 10, 100, 1_000, 10_000, 100_000].flatMap((decade) =>
    roundTimes.map((time) => time * decade),
  );
  const from = all.findLast((tick) => tick <= shortest) ?? all[0]!;
  const to = all.find((tick) => tick >= longest) ?? all.at(-1)!;
  return {
    ticks: all.filter((tick) => tick >= from && tick <= to),
    positionOf(ms) {
      const share = Math.log(ms / from) / Math.log(to / from);
      return round(plot.bottom - share * (plot.bottom - plot.top));
    },
  };
}

function round(position: number): number {
  return Math.round(position * 10) / 10;
}
