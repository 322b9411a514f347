/** Buttons of the demonstration, and their results. */
import { html, nothing } from 'lit-html';
import { workflowIds } from '../../../events/workflow-ids';
import type {
  DeadLetter,
  DemonstrationOrder,
  Lag,
  Page,
  Redelivery,
  SentMessage,
} from './api-types';
import { formatClock, formatCount } from './format';
import { messageOf } from './polling';
import type { Session } from './session';
import { hrefOf, panel, productLink, workflowLink, type Content } from './view';

/** The buttons. */
export interface Demonstration {
  render(): Content;
  close(): void;
}

/** What a click has come to so far. */
interface Outcome {
  readonly id: number;
  text: Content;
  state: 'under-way' | 'done' | 'failed';
}

type Act = (outcome: Outcome) => Promise<void>;

const shownOutcomes = 4;

/** Buttons that act on any product, or on the one that is given. */
export function createDemonstration(session: Session, productId?: string): Demonstration {
  const { api, redraw } = session;
  const closed = new AbortController();
  let outcomes: Outcome[] = [];
  let count = 0;

  const run = (act: Act) => (): void => {
    count += 1;
    const outcome: Outcome = { id: count, text: 'Sending …', state: 'under-way' };
    outcomes = [outcome, ...outcomes].slice(0, shownOutcomes);
    redraw();
    void act(outcome)
      .then(() => (outcome.state = 'done'))
      .catch((error: unknown) => {
        outcome.state = 'failed';
        outcome.text = messageOf(error);
      })
      .finally(redraw);
  };
  const show = (outcome: Outcome, text: Content): void => {
    outcome.text = text;
    redraw();
  };

  const order =
    (all: boolean): Act =>
    async (outcome) => {
      const body = productId === undefined ? { all } : { all, productId };
      const placed = await api.post<DemonstrationOrder>('/v1/demonstration/orders', body);
      const { orderId, name, quantity } = placed;
      const what = html`${formatCount(quantity)} × ${productLink(placed.productId, name)}`;
      show(
        outcome,
        html`${all ? 'Sold out: bought all' : 'Bought'} ${what}: order
          <a class="id" href=${hrefOf('order', orderId)}>${orderId}</a>,
          ${workflowLink(session, workflowIds.placeOrder(orderId))}.`,
      );
    };

  const redeliver: Act = async (outcome) => {
    const sent = await api.post<Redelivery>('/v1/demonstration/redeliveries');
    const { type, workflowId, handledAt } = sent;
    const which = html`${type} ${workflowLink(session, workflowId, 'Workflow')}`;
    show(
      outcome,
      html`${which} sent again, to ${placeOf(sent)}. Waiting for the collector to read it …`,
    );
    await untilTrue(closed.signal, async () => {
      const { partitions } = await api.get<Lag>('/v1/lag');
      return partitions.some(
        ({ topic, partition, committed }) =>
          topic === sent.topic && partition === sent.partition && (committed ?? 0) > sent.offset,
      );
    });
    show(
      outcome,
      html`${which} was read again at ${placeOf(sent)} and changed nothing: it was handled once, at
      ${formatClock(handledAt)}.`,
    );
  };

  const poison: Act = async (outcome) => {
    const sent = await api.post<SentMessage>('/v1/demonstration/poison');
    show(outcome, html`Sent to ${placeOf(sent)}. Waiting for it to be parked …`);
    let parked: DeadLetter | undefined;
    await untilTrue(closed.signal, async () => {
      const { items } = await api.get<Page<DeadLetter>>('/v1/dead-letters?limit=20');
      parked = items.find(
        ({ topic, partition, offset }) =>
          topic === sent.topic && partition === sent.partition && offset === sent.offset,
      );
      return parked !== undefined;
    });
    void session.status.refresh();
    show(
      outcome,
      html`The message at ${placeOf(sent)} was parked as
        <a href=${`#/dead-letters/${parked?.id}`}>dead letter ${parked?.id}</a>: ${parked?.reason}.
        Its partition continues.`,
    );
  };

  const button = (name: string, text: string, act: Act): Content =>
    html`<button type="button" data-act=${name} @click=${run(act)}>${text}</button>`;
  return {
    render: () =>
      panel(
        'demonstration',
        'Try it',
        html`<div class="buttons">
            ${button('order', productId === undefined ? 'Place an order' : 'Order one', order(false))}
            ${button('sell-out', productId === undefined ? 'Sell out a product' : 'Order all', order(true))}
            ${
              productId === undefined
                ? [
                    button('redeliver', 'Redeliver an event', redeliver),
                    button('poison', 'Send a poison message', poison),
                  ]
                : nothing
            }
          </div>
          <div class="outcomes" role="log" aria-label="Results">
            ${
              outcomes.length === 0
                ? html`<p class="note">
                    Uses the same API and topics as shoppers and producers. Results show here.
                  </p>`
                : html`<ol>
                    ${outcomes.map(
                      ({ id, state, text }) =>
                        html`<li data-state=${state} data-outcome=${id}>
                          ${state === 'failed' ? html`<strong>Failed.</strong> ` : nothing}${text}
                        </li>`,
                    )}
                  </ol>`
            }
          </div>`,
      ),
    close: () => closed.abort(),
  };
}

function placeOf({ topic, partition, offset }: SentMessage): string {
  return `${topic}/${partition} at ${offset}`;
}

const lookEveryMs = 300;
const waitAtMostMs = 60_000;

async function untilTrue(signal: AbortSignal, look: () => Promise<boolean>): Promise<void> {
  const deadline = Date.now() + waitAtMostMs;
  while (!signal.aborted && !(await look())) {
    if (Date.now() > deadline) {
      throw new Error('Sent, but not consumed within a minute. Check the lag.');
    }
    await new Promise((resolve) => setTimeout(resolve, lookEveryMs));
  }
}
