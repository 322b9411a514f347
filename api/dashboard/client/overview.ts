/** The overview: how much is handled and how fast, what waits, what is up, and what happens right now. */
import { html, nothing } from 'lit-html';
import type { Lag, PartitionLag, Status } from './api-types';
import { createChart } from './charts';
import { createConsumptionPanel } from './consumption';
import { createDemonstration } from './demonstration';
import { createEventList } from './event-list';
import { keptStretches } from './event-rates';
import { formatClock, formatCount, formatDuration, formatRate, formatTime } from './format';
import { createPipeline } from './pipeline';
import { poll, type Reading } from './polling';
import type { Session } from './session';
import { panel, reading, runbookLink, tile, workflowLink, type Content, type View } from './view';

/** Opens the overview. */
export function openOverview(session: Session): View {
  const { api, redraw } = session;
  const lag = poll(2_000, () => api.get<Lag>('/v1/lag'), redraw);
  const pipeline = createPipeline(session);
  const consumption = createConsumptionPanel(session);
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
        ${pipeline.render()}
        <dl class="tiles">${tiles(session, lag)}</dl>
        <div class="charts">
          ${panel('throughput', 'Events handled per second', charts.throughput)}
          ${panel('latency', 'Latency from event to effects', charts.latency)}
        </div>
        <div class="columns">
          <div class="main-column">
            ${events.render()}
            ${panel('lag-by-partition', 'Lag by partition', reading(lag, lagTables))}
          </div>
          <div class="side-column">
            ${session.settings.demonstration ? demonstration.render() : nothing}
            ${panel(
              'servers',
              'Servers and processes',
              reading(session.status, (status) => [serverList(status), processList(status)]),
            )}
            ${consumption.render()}
            ${panel(
              'audit',
              'Audit and verification',
              reading(session.status, (status) => [
                lastAudit(session, status),
                lastVerification(status),
              ]),
            )}
          </div>
        </div>
      `;
    },
    close() {
      clearInterval(clock);
      lag.stop();
      charts.close();
      demonstration.close();
    },
  };
}

function tiles({ rates, status, ratesAre, stream }: Session, lag: Reading<Lag>): Content {
  const now = Date.now();
  const minute = rates.summarize(now, 60_000);
  const tenMinutes = rates.summarize(now, keptStretches * rates.lengthMs);
  const known = ratesAre === 'known' && stream.kind !== 'interrupted';
  const uncounted =
    stream.kind === 'interrupted' ? `unknown since ${formatClock(stream.since)}` : 'counting';
  const deadLetters = status.data?.deadLetters ?? undefined;
  const behind = lag.data?.partitions.filter((partition) => partition.lag > 0).length ?? 0;
  return [
    tile(
      'tile-rate',
      'Handled per second',
      known ? formatRate(minute.perSecond) : '–',
      known ? `${formatCount(tenMinutes.events)} in 10 minutes` : uncounted,
    ),
    tile(
      'tile-latency',
      'Latency, p95',
      known ? formatDuration(minute.p95Ms) : '–',
      known ? latencyDetail(minute) : uncounted,
      known ? latencyTone(minute.p95Ms) : 'calm',
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
      deadLetters === undefined
        ? '–'
        : `${formatCount(deadLetters.count)}${deadLetters.more ? '+' : ''}`,
      deadLetters === undefined
        ? 'unknown'
        : deadLetters.count === 0
          ? 'none'
          : html`<a href="#/dead-letters">Review them</a>`,
      deadLetters !== undefined && deadLetters.count > 0 ? 'warn' : 'calm',
    ),
  ];
}

/** Where the alert on slow events fires, and where somebody should look before, in ms. */
const slowMs = { bad: 30_000, warn: 5_000 };

function latencyTone(p95Ms: number | null): 'calm' | 'warn' | 'bad' {
  if (p95Ms === null || p95Ms < slowMs.warn) return 'calm';
  return p95Ms < slowMs.bad ? 'warn' : 'bad';
}

function latencyDetail({ medianMs, p95Ms }: ReturnType<Session['rates']['summarize']>): string {
  if (medianMs === null) return 'no events in the last minute';
  const tone = latencyTone(p95Ms);
  return `${tone === 'calm' ? '' : `over ${formatDuration(slowMs[tone])}; `}median ${formatDuration(medianMs)}`;
}

function lagDetail({ failure, data }: Reading<Lag>, behind: number): string {
  if (failure !== undefined) {
    return `${data === undefined ? 'unknown since' : 'as of'} ${formatClock(failure.since)}`;
  }
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
      { label: 'median', colour: '--series-2', bridged: true },
      { label: '95th percentile', colour: '--series-3', bridged: true },
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
      // Unknown counts as another number, so that it is drawn.
      const counted = stretches.reduce((sum, { events }) => sum + (events ?? -1), 0);
      if (until === shownUntil && counted === shownEvents) return;
      shownUntil = until;
      shownEvents = counted;
      const times = stretches.map(({ at }) => at / 1_000);
      const seconds = rates.lengthMs / 1_000;
      const perSecond = stretches.map(({ events }) => (events === null ? null : events / seconds));
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

function serverList({ servers }: Status): Content {
  return html`<ul class="health">
    ${servers.map(
      ({ name, status, reason, required }) =>
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

function processList({ processes }: Status): Content {
  if (processes === null) return html`<p class="note">Processes: unknown.</p>`;
  return html`<ul class="health">
    ${processes.map(
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

function lastAudit(session: Session, { audit }: Status): Content {
  const about = html`<p class="note">The audit runs by itself and mends what it finds.</p>`;
  if (audit === null)
    return html`<p class="fact">No run of the audit is known.</p>
      ${about}`;
  const found = Object.entries(audit.findings).map(([kind, n]) => `${formatCount(n)} ${kind}`);
  const state = audit.failure !== null || found.length > 0 ? 'warn' : 'good';
  return html`<ul class="health">
      <li data-state=${state} data-audit="last">
        <span
          >${workflowLink(session, audit.workflowId, `Audit ${formatTime(audit.startedAt)}`)}</span
        >
        <span class="state"
          >${audit.failure ?? (found.length === 0 ? 'found nothing' : found.join(', '))}</span
        >
      </li>
    </ul>
    ${state === 'warn' ? html`<p class="note">${runbookLink('auditfindings')}</p>` : nothing}
    ${about}`;
}

function lastVerification({ verification }: Status): Content {
  const violated = verification?.violated.length ?? 0;
  return html`<ul class="health">
    <li
      data-state=${verification === null ? 'unknown' : violated === 0 ? 'good' : 'bad'}
      data-verification="last"
    >
      <a href="#/verification"
        >Verification${verification === null ? '' : ` ${formatTime(verification.finishedAt)}`}</a
      >
      <span class="state"
        >${
          verification === null
            ? 'none yet'
            : violated === 0
              ? 'all figures add up'
              : `${formatCount(violated)} violated`
        }</span
      >
    </li>
  </ul>`;
}

function lagTables({ partitions }: Lag): Content {
  const topics = [...new Set(partitions.map(({ topic }) => topic))];
  const tables = topics.map(
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
  return html`<div class="lag-tables">${tables}</div>`;
}

function lagRow({ topic, partition, committed, end, lag }: PartitionLag): Content {
  return html`<tr data-partition=${`${topic}/${partition}`} data-tone=${lag > 0 ? 'warn' : 'calm'}>
    <th scope="row">${partition}</th>
    <td class="number">${committed === null ? '–' : formatCount(committed)}</td>
    <td class="number">${formatCount(end)}</td>
    <td class="number">${formatCount(lag)}</td>
  </tr>`;
}
