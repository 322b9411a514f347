/** Consumption as operators hold or bound it, and buttons to hold all of it and to go on. */
import { html, nothing } from 'lit-html';
import { describeScope } from '../../../events/consumption-scope';
import type { Consumption, Status } from './api-types';
import { formatCount, formatTime } from './format';
import { messageOf } from './polling';
import { ask } from './question';
import type { Session } from './session';
import { panel, reading, runbookLink, type Content } from './view';

/** The panel. */
export interface ConsumptionPanel {
  render(): Content;
}

type Hold = Consumption['holds'][number];

/** The session's panel. Less than everything is held, and the rate bounded, from API and command line. */
export function createConsumptionPanel(session: Session): ConsumptionPanel {
  const { api, redraw, status } = session;
  let failure = '';
  const change = async (path: string, body: object): Promise<void> => {
    try {
      await api.post(path, body);
      failure = '';
    } catch (error) {
      failure = messageOf(error);
    }
    await status.refresh();
    redraw();
  };
  const hold = async (): Promise<void> => {
    const reason = await ask({
      title: 'Hold consumption?',
      text: 'Of all topics, for every bridge, until somebody resumes it, also after a restart. Messages wait in Kafka.',
      action: 'Hold',
      dangerous: true,
      reason: 'Reason',
    });
    if (reason !== undefined) await change('/v1/pipeline/pause', { reason });
  };
  const resume = async (held: Hold): Promise<void> => {
    const reason = await ask({
      title: `Resume consumption of ${describeScope(held)}?`,
      text: `Held by ${held.by}: ${held.reason}`,
      action: 'Resume',
      reason: 'Reason',
    });
    if (reason === undefined) return;
    const { topic, partition } = held;
    const scope = {
      ...(topic === null ? {} : { topic }),
      ...(partition === null ? {} : { partition }),
    };
    await change('/v1/pipeline/resume', { ...scope, reason });
  };
  const heldItem = (held: Hold): Content =>
    html`<li data-state="warn" data-held=${describeScope(held)}>
      <span>${describeScope(held)}: ${held.reason}</span>
      <span class="state">held by ${held.by} since ${formatTime(held.since)}</span>
      <button
        type="button"
        aria-label=${`Resume ${describeScope(held)}`}
        @click=${() => void resume(held)}
      >
        Resume
      </button>
    </li>`;
  const show = ({ consumption }: Status): Content => {
    if (consumption === null) return html`<p class="fact">Unknown.</p>`;
    const { holds, limit, topicLimits } = consumption;
    const bounds = [...(limit === null ? [] : [{ ...limit, topic: null }]), ...topicLimits];
    const isAllHeld = holds.some(({ topic }) => topic === null);
    return html`${
        holds.length === 0
          ? html`<p class="fact">Nothing is held.</p>`
          : html`<ul class="health">
              ${holds.map(heldItem)}
            </ul>`
      }
      ${bounds.map((bound) => html`<p class="note">${limitText(bound)}</p>`)}
      ${
        isAllHeld
          ? nothing
          : html`<div class="buttons">
              <button type="button" data-act="hold" @click=${() => void hold()}>Hold all</button>
            </div>`
      }
      <p class="outcome" role="status" data-state=${failure === '' ? 'none' : 'failed'}>
        ${failure}
      </p>
      ${holds.length === 0 && bounds.length === 0 ? nothing : html`<p class="note">${runbookLink('consumptionheld')}</p>`}`;
  };
  return { render: () => panel('consumption', 'Consumption', reading(status, show)) };
}

type Bound = NonNullable<Consumption['limit']> & { readonly topic: string | null };

function limitText({ topic, messagesPerSecond, by, since, reason }: Bound): string {
  const scope = topic === null ? '' : ` of ${topic}`;
  return `At most ${formatCount(messagesPerSecond)} messages per second${scope}, by ${by} since ${formatTime(since)}: ${reason}`;
}
