/** The overview: how much is handled and how fast, what waits, what is up, and what happens right now. */
import { html, nothing } from 'lit-html';
import type { Lag, PartitionLag, Processes, Readiness } from './api-types';
import { createChart } from './charts';
import { createDemonstration } from './demonstration';
import { createEventList } from './event-list';
import { keptStretches } from './event-rates';
import { formatClock, formatCount, formatDuration, formatRate } from './format';
import { poll, type Reading } from './polling';
import type { Session } from './session';
import { panel, reading, tile, type Content, type View } from './view';

/** Opens the overview. */
export function openOverview(session: Session): View {
  const { api, redraw } = session;
  const lag = poll(2_000, () => api.get<Lag>('/v1/lag'), redraw);
  const processes = poll(5_000, () => api.get<Processes>('/v1/processes'), redraw);
  const events = createEventList(session);
  const demonstration = createDemonstration(session);
  const charts = createCharts(session);
  // The numbers of the last seconds grow old by themselves.
  const clock = setInterval(redraw, 1_000);
  return {
    section: 'overview',
    title: 'Overview',
    render() {
      charts.update();
      return html`
        <dl class="tiles">${tiles(session, lag)}</dl>
        <div class="charts">
          ${panel('throughput', 'Events handled per second', charts.throughput)}
          ${panel('latency', 'Latency from event to effects', charts.latency)}
        </div>
        <div class="columns">
          <div class="main-column">${events.render()}</div>
          <div class="side-column">
            ${session.settings.demonstration ? demonstration.render() : nothing}
            ${panel('servers', 'Servers and processes', [
              reading(session.readiness, serverList),
              reading(processes, processList),
            ])}
            ${panel('lag-by-partition', 'Lag by partition', reading(lag, lagTable))}
          </div>
        </div>
      `;
    },
    close() {
      clearInterval(clock);
      lag.stop();
      processes.stop();
      charts.close();
      demonstration.close();
    },
  };
}

function tiles({ rates, parked, ratesAre }: Session, lag: Reading<Lag>): Content {
  const now = Date.now();
  const minute = rates.summarize(now, 60_000);
  const tenMinutes = rates.summarize(now, keptStretches * rates.lengthMs);
  const known = ratesAre === 'known';
  const waiting = parked.data?.items.length;
  const more = typeof parked.data?.nextCursor === 'string';
  const behind = lag.data?.partitions.filter((partition) => partition.lag > 0).length ?? 0;
  return [
    tile(
      'tile-rate',
      'Handled per second',
      known ? formatRate(minute.perSecond) : '–',
      known ? `${formatCount(tenMinutes.events)} in 10 minutes` : 'counting',
    ),
    tile(
      'tile-latency',
      'Latency, p95',
      formatDuration(minute.p95Ms),
      minute.medianMs === null
        ? 'no events in the last minute'
        : `median ${formatDuration(minute.medianMs)}`,
    ),
    tile(
      'tile-lag',
      'Lag',
      lag.data === undefined ? '–' : formatCount(lag.data.total),
      lagDetail(lag, behind),
      lag.failure !== undefined || behind > 0 ? 'warn' : 'calm',
    ),
    tile(
      'tile-dead-letters',
      'Dead letters waiting',
      waiting === undefined ? '–' : `${formatCount(waiting)}${more ? '+' : ''}`,
      waiting === undefined || waiting === 0
        ? 'none'
        : html`<a href="#/dead-letters">Review them</a>`,
      waiting !== undefined && waiting > 0 ? 'warn' : 'calm',
    ),
  ];
}

function lagDetail({ failure, data }: Reading<Lag>, behind: number): string {
  if (failure !== undefined) return `as of ${formatClock(failure.since)}`;
  if (data === undefined) return 'loading';
  if (behind === 0) return 'no lag';
  return `in ${behind} of ${data.partitions.length} partitions`;
}

interface Charts {
  readonly throughput: Content;
  readonly latency: Content;
  update(): void;
  close(): void;
}

function createCharts({ rates }: Session): Charts {
  const throughput = createChart(
    'Events handled per second over the last ten minutes',
    [{ label: 'per second', colour: '--accent', filled: true }],
    formatRate,
  );
  const latency = createChart(
    'Latency from the time of an event to its effects over the last ten minutes',
    [
      { label: 'median', colour: '--series-2' },
      { label: '95th percentile', colour: '--series-3' },
    ],
    formatDuration,
  );
  let shownUntil = 0;
  let shownEvents = -1;
  return {
    throughput: html`${throughput.element}`,
    latency: html`${latency.element}`,
    update() {
      const stretches = rates.list(Date.now());
      const until = stretches.at(-1)?.at ?? 0;
      const counted = stretches.reduce((sum, { events }) => sum + events, 0);
      if (until === shownUntil && counted === shownEvents) return;
      shownUntil = until;
      shownEvents = counted;
      const times = stretches.map(({ at }) => at / 1_000);
      const perSecond = stretches.map(({ events }) => events / (rates.lengthMs / 1_000));
      throughput.show(times, [perSecond]);
      latency.show(times, [
        stretches.map(({ medianMs }) => medianMs),
        stretches.map(({ p95Ms }) => p95Ms),
      ]);
    },
    close() {
      throughput.close();
      latency.close();
    },
  };
}

const serverNames: Readonly<Record<string, string>> = {
  postgres: 'PostgreSQL',
  temporal: 'Temporal',
  kafka: 'Kafka',
  redis: 'Redis',
};

function serverList({ dependencies }: Readiness): Content {
  return html`<ul class="health">
    ${Object.entries(dependencies).map(
      ([name, { status, reason, required }]) =>
        html`<li
          data-state=${status === 'up' ? 'good' : required ? 'bad' : 'warn'}
          data-server=${name}
        >
          <span>${serverNames[name] ?? name}</span>
          <span class="state">${status === 'up' ? 'up' : `down: ${reason ?? 'timeout'}`}</span>
        </li>`,
    )}
  </ul>`;
}

function processList({ items }: Processes): Content {
  return html`<ul class="health">
    ${items.map(
      ({ name, running }) =>
        html`<li
          data-state=${running === null ? 'unknown' : running > 0 ? 'good' : 'bad'}
          data-process=${name}
        >
          <span>${name}</span>
          <span class="state"
            >${running === null ? 'unknown' : running === 0 ? 'none running' : `${running} running`}</span
          >
        </li>`,
    )}
  </ul>`;
}

function lagTable({ partitions }: Lag): Content {
  const topics = [...new Set(partitions.map(({ topic }) => topic))];
  return topics.map(
    (topic) =>
      html`<table class="lag">
        <caption>
          ${topic}
        </caption>
        <thead>
          <tr>
            <th scope="col">Partition</th>
            <th scope="col" class="number">Committed</th>
            <th scope="col" class="number">End</th>
            <th scope="col" class="number">Lag</th>
          </tr>
        </thead>
        <tbody>
          ${partitions.filter((partition) => partition.topic === topic).map(lagRow)}
        </tbody>
      </table>`,
  );
}

function lagRow({ topic, partition, committed, end, lag }: PartitionLag): Content {
  return html`<tr data-partition=${`${topic}/${partition}`} data-tone=${lag > 0 ? 'warn' : 'calm'}>
    <th scope="row">${partition}</th>
    <td class="number">${committed === null ? '–' : formatCount(committed)}</td>
    <td class="number">${formatCount(end)}</td>
    <td class="number">${formatCount(lag)}</td>
  </tr>`;
}
