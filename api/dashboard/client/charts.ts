/** The charts: a canvas of uPlot's in the page's colours, with its newest numbers in words for those who cannot see it. */
import uPlot from 'uplot';

/** A line of a chart. */
export interface ChartLine {
  readonly label: string;
  /** Name of the page's colour, such as `--accent`. */
  readonly colour: string;
  /** Whether the area below it is filled. */
  readonly filled?: boolean;
  /** Whether it goes on over short times without a value, in which there was nothing to measure. */
  readonly bridged?: boolean;
}

/** A chart. */
export interface Chart {
  /** Insert it into the page. */
  readonly element: HTMLElement;
  /** Shows values over time: `times` in seconds since 1970, and one row a line. */
  show(times: readonly number[], rows: readonly (readonly (number | null)[])[]): void;
  close(): void;
}

const height = 190;

/** Half a label of the time, in pixels. */
const labelSpace = 20;

/** A chart over time. @param format how a value is written @param name what it shows */
export function createChart(
  name: string,
  lines: readonly ChartLine[],
  format: (value: number) => string,
): Chart {
  const element = document.createElement('div');
  element.className = 'chart';
  element.setAttribute('role', 'img');
  element.setAttribute('aria-label', name);
  let data: uPlot.AlignedData = [[], ...lines.map(() => [])];
  let plot: uPlot | undefined;

  const draw = (): void => {
    plot?.destroy();
    const width = element.clientWidth;
    if (width > 0) plot = new uPlot(optionsOf(lines, format, width), data, element);
  };
  const resizing = new ResizeObserver(() => {
    if (plot === undefined) draw();
    else plot.setSize({ width: element.clientWidth, height });
  });
  resizing.observe(element);
  const dark = matchMedia('(prefers-color-scheme: dark)');
  dark.addEventListener('change', draw);
  return {
    element,
    show(times, rows) {
      const shown = rows.map((row, index) => (lines[index]?.bridged ? bridgeShortGaps(row) : row));
      data = [times, ...shown] as uPlot.AlignedData;
      plot?.setData(data);
    },
    close() {
      resizing.disconnect();
      dark.removeEventListener('change', draw);
      plot?.destroy();
    },
  };
}

function optionsOf(
  lines: readonly ChartLine[],
  format: (value: number) => string,
  width: number,
): uPlot.Options {
  const styles = getComputedStyle(document.documentElement);
  const colour = (name: string): string => styles.getPropertyValue(name).trim();
  const axis = {
    stroke: colour('--muted'),
    font: '12px Inter, system-ui, sans-serif',
    ticks: { show: false },
    grid: { stroke: colour('--grid'), width: 1 },
  };
  return {
    width,
    height,
    padding: [8, 4, 0, 0],
    cursor: { points: { size: 7 }, y: false, drag: { x: false, y: false } },
    legend: { live: true },
    scales: { x: { time: true }, y: { range: (_, __, most) => [0, Math.max(most * 1.15, 1)] } },
    axes: [
      {
        ...axis,
        grid: { show: false },
        space: 70,
        size: 30,
        values: (plot, times) => times.map((time) => (fitsOnAxis(plot, time) ? clockOf(time) : '')),
      },
      {
        ...axis,
        size: (_, values) => Math.max(...(values ?? ['']).map((text) => text.length)) * 7 + 14,
        space: 34,
        values: (_, values) => values.map((value) => format(value)),
      },
    ],
    series: [
      { value: (_, time) => (time === null ? '' : clockOf(time, true)), label: 'Time' },
      ...lines.map((line) => ({
        label: line.label,
        stroke: colour(line.colour),
        width: 2,
        // A value that no line leads to or from would not show.
        points: { show: true, size: 4, filter: lonely },
        ...(line.filled === true ? { fill: `${colour(line.colour)}26` } : {}),
        value: (_: uPlot, value: number | null) => (value === null ? '–' : format(value)),
      })),
    ],
  };
}

// A label at the very edge would be cut, or run into those of the other axis.
function fitsOnAxis(plot: uPlot, time: number): boolean {
  const place = plot.valToPos(time, 'x');
  const width = plot.over.clientWidth;
  return place >= labelSpace && place <= width - labelSpace;
}

// For so many values without one between, a line still says something.
const bridgedValues = 15;

/** For uPlot, `undefined` continues a line and `null` interrupts it. */
function bridgeShortGaps(values: readonly (number | null)[]): (number | null | undefined)[] {
  const bridged: (number | null | undefined)[] = [...values];
  let last = -Infinity;
  values.forEach((value, index) => {
    if (value === null) return;
    if (index - last <= bridgedValues) bridged.fill(undefined, last + 1, index);
    last = index;
  });
  return bridged;
}

function lonely(plot: uPlot, line: number, show: boolean): number[] | null {
  const values = plot.data[line];
  if (!show || values === undefined) return null;
  const ends = (index: number): boolean => !(index in values) || values[index] === null;
  return [...values.keys()].filter((index) => !ends(index) && ends(index - 1) && ends(index + 1));
}

function clockOf(seconds: number, exactly = false): string {
  const options = exactly ? ({ timeStyle: 'medium' } as const) : ({ timeStyle: 'short' } as const);
  return new Intl.DateTimeFormat('en-GB', options).format(new Date(seconds * 1_000));
}
