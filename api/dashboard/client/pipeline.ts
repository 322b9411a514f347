/** The pipeline from left to right: what waits at each step, for how long, and where to look. */
import { html, nothing, type TemplateResult } from 'lit-html';
import type { Status } from './api-types';
import { formatCount, formatDuration, formatRate } from './format';
import { createTrend } from './trend';
import type { Session } from './session';
import { panel, workflowSearchLink, type Content } from './view';

/** The boxes. */
export interface Pipeline {
  render(): Content;
}

/** A step. */
interface Step {
  readonly id: string;
  readonly name: string;
  readonly figure: string;
  readonly detail: Content;
  readonly tone: Tone;
  readonly more: Content;
}

type Tone = 'calm' | 'warn' | 'unknown';

type Bridge = NonNullable<Status['bridges']>[number];

// As the API judges: from then on it is a problem.
const unpublishedMs = 10_000;
const uncommittedMs = 30_000;
const undecidedMs = 30_000;

/** The session's pipeline. */
export function createPipeline(session: Session): Pipeline {
  const trend = createTrend();
  return {
    render() {
      const { data, failure } = session.status;
      // What was known before an outage says nothing of now.
      const status = failure === undefined ? data : undefined;
      if (data !== undefined) trend.add(status?.lag?.total, Date.parse(data.measuredAt));
      const steps = [
        api(status),
        outbox(session, status),
        kafka(status, trend.perSecond()),
        inFlight(session, status),
        handled(session),
      ];
      return panel(
        'pipeline',
        'From the request to its effects',
        html`<ol class="pipeline">
          ${steps.map(box)}
        </ol>`,
      );
    },
  };
}

function box({ id, name, figure, detail, tone, more }: Step): Content {
  return html`<li id=${`step-${id}`} data-tone=${tone}>
    <h3>${name}</h3>
    <p class="figure">
      ${tone === 'warn' ? html`<span class="hidden">Attention: </span>` : nothing}${figure}
    </p>
    <p class="detail">${detail}</p>
    <p class="more-of-it">${more}</p>
  </li>`;
}

const unknown = { figure: '–', detail: 'unknown', tone: 'unknown' } as const;

function api(status: Status | undefined): Step {
  const more = html`<a href="#/orders">Orders</a>`;
  const step = { id: 'api', name: 'API', more };
  if (status?.orders === undefined || status.orders === null) return { ...step, ...unknown };
  return { ...step, ...waitingStep(status.orders, 'undecided', undecidedMs) };
}

function outbox(session: Session, status: Status | undefined): Step {
  const query = 'TaskQueue="commerce" AND ExecutionStatus="Running"';
  const more = workflowSearchLink(session, query, 'Publishing');
  const step = { id: 'outbox', name: 'Outbox', more };
  if (status?.outbox === undefined || status.outbox === null) return { ...step, ...unknown };
  return { ...step, ...waitingStep(status.outbox, 'unpublished', unpublishedMs) };
}

function kafka(status: Status | undefined, perSecond: number | undefined): Step {
  const more = jumpTo('lag-by-partition', 'Lag by partition');
  const step = { id: 'kafka', name: 'Kafka', more };
  if (status?.lag === undefined || status.lag === null) return { ...step, ...unknown };
  const { total, oldestAt } = status.lag;
  const waiting = waitingStep({ count: total, more: false, oldestAt }, 'lag', uncommittedMs);
  return { ...step, ...waiting, detail: `${waiting.detail}${trendOf(total, perSecond)}` };
}

function inFlight(session: Session, status: Status | undefined): Step {
  const query = 'WorkflowType IN ("handleEvent", "handleEventBatch") AND ExecutionStatus="Running"';
  const more = workflowSearchLink(session, query, 'Running');
  const step = { id: 'in-flight', name: 'In flight', more };
  const bridges = status?.bridges ?? undefined;
  if (bridges === undefined) return { ...step, ...unknown };
  if (bridges.length === 0) {
    return { ...step, figure: '0', detail: 'no bridge is running', tone: 'warn' };
  }
  const sum = (of: (bridge: Bridge) => number): number =>
    bridges.reduce((total, bridge) => total + of(bridge), 0);
  const modes = [...new Set(bridges.map(({ mode }) => mode))].join(', ');
  const pauses = [...new Set(bridges.flatMap(({ pausedBy }) => pausedBy))];
  return {
    ...step,
    figure: `${formatCount(sum((bridge) => bridge.inFlight))} of ${formatCount(sum((bridge) => bridge.slots))}`,
    detail:
      pauses.length === 0 ? `slots, ${modes}` : `slots, ${modes}; paused: ${pauses.join(', ')}`,
    tone: pauses.includes('temporal-away') ? 'warn' : 'calm',
  };
}

function handled({ rates, ratesAre, stream }: Session): Step {
  const step = { id: 'handled', name: 'Handled', more: jumpTo('events', 'Events') };
  if (ratesAre === 'unknown' || stream.kind !== 'live') return { ...step, ...unknown };
  const { perSecond, p95Ms } = rates.summarize(Date.now(), 60_000);
  return {
    ...step,
    figure: `${formatRate(perSecond)}/s`,
    detail: p95Ms === null ? 'none in the last minute' : `p95 ${formatDuration(p95Ms)}`,
    tone: 'calm',
  };
}

function waitingStep(
  { count, more, oldestAt }: NonNullable<Status['outbox']>,
  what: string,
  lateMs: number,
): { figure: string; detail: string; tone: Tone } {
  const ageMs = oldestAt === null ? 0 : Math.max(Date.now() - Date.parse(oldestAt), 0);
  return {
    figure: `${formatCount(count)}${more ? '+' : ''}`,
    detail: count === 0 || oldestAt === null ? what : `${what}, oldest ${formatDuration(ageMs)}`,
    tone: count > 0 && ageMs >= lateMs ? 'warn' : 'calm',
  };
}

/** `; ↑ 35/s`, where it changes. */
function trendOf(total: number, perSecond: number | undefined): string {
  if (perSecond === undefined || Math.abs(perSecond) < 0.5) return total === 0 ? '' : '; steady';
  const direction = perSecond > 0 ? '↑ grows' : '↓ falls';
  return `; ${direction} ${formatRate(Math.abs(perSecond))}/s`;
}

// The address says which view is open, so the link must not become it.
function jumpTo(panelId: string, text: string): TemplateResult {
  const jump = (event: Event): void => {
    event.preventDefault();
    document.getElementById(panelId)?.scrollIntoView({ block: 'start' });
  };
  return html`<a href=${`#${panelId}`} @click=${jump}>${text}</a>`;
}
