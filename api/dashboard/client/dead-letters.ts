/** The list of dead letters. */
import { html, nothing } from 'lit-html';
import type { DeadLetter, Page } from './api-types';
import { formatTime } from './format';
import { poll } from './polling';
import type { Session } from './session';
import { choices, panel, reading, type Content, type View } from './view';

const statuses = [
  ['parked', 'Parked'],
  ['redriven', 'Redriven'],
  ['discarded', 'Discarded'],
  ['all', 'All'],
] as const;

/** Opens the list. */
export function openDeadLetters(session: Session): View {
  const { api, redraw } = session;
  let status: DeadLetter['status'] | 'all' = 'parked';
  let limit = 20;
  const list = poll(
    3_000,
    () => {
      const filter = status === 'all' ? '' : `&status=${status}`;
      return api.get<Page<DeadLetter>>(`/v1/dead-letters?limit=${limit}${filter}`);
    },
    redraw,
  );
  const choose = (chosen: typeof status): void => {
    status = chosen;
    void list.refresh();
  };
  const more = (): void => {
    limit = 100;
    void list.refresh();
  };
  return {
    section: 'dead-letters',
    title: 'Dead letters',
    render: () =>
      panel(
        'dead-letters',
        'Dead letters',
        html`<p class="note">
            Messages that are not valid events, or whose effects can never be applied. Each is kept
            byte for byte until it is redriven or discarded.
          </p>
          ${reading(list, (page) => table(page, status, limit < 100 ? more : undefined))}`,
        choices('Which', statuses, status, choose),
      ),
    close: () => list.stop(),
  };
}

function table(
  { items, nextCursor }: Page<DeadLetter>,
  status: string,
  onMore: (() => void) | undefined,
): Content {
  if (items.length === 0) {
    return html`<p class="empty">
      ${status === 'parked' ? 'No parked dead letters.' : 'No dead letters.'}
    </p>`;
  }
  return html`<div class="scrolling" role="region" aria-label="List of dead letters" tabindex="0">
      <table class="dead-letters">
        <thead>
          <tr>
            <th scope="col">Dead letter</th>
            <th scope="col">Reason</th>
            <th scope="col">From</th>
            <th scope="col">Parked</th>
            <th scope="col">Status</th>
          </tr>
        </thead>
        <tbody>
          ${items.map(
            ({ id, reason, detail, topic, partition, offset, lastOffset, parkedAt, ...letter }) =>
              html`<tr data-dead-letter=${id}>
                <th scope="row"><a href=${`#/dead-letters/${id}`}>Dead letter ${id}</a></th>
                <td><span class="reason">${reason}</span><span class="where">${detail}</span></td>
                <td class="nowrap">
                  ${topic}/${partition}<span class="where"
                    >at ${offsetsOf({ offset, lastOffset })}</span
                  >
                </td>
                <td class="nowrap">${formatTime(parkedAt)}</td>
                <td>${statusOf(letter)}</td>
              </tr>`,
          )}
        </tbody>
      </table>
    </div>
    ${
      nextCursor !== null && onMore !== undefined
        ? html`<button type="button" class="more" @click=${onMore}>Show more</button>`
        : nothing
    }`;
}

/** The offset of a message, or the first and the last where none could be read. */
export function offsetsOf({
  offset,
  lastOffset,
}: Pick<DeadLetter, 'offset' | 'lastOffset'>): string {
  return lastOffset === null || lastOffset === offset ? `${offset}` : `${offset}–${lastOffset}`;
}

/** The status of a dead letter as a badge. */
export function statusOf({
  status,
  redrivingSince,
}: Pick<DeadLetter, 'status' | 'redrivingSince'>): Content {
  const text =
    status === 'parked' ? (redrivingSince === null ? 'parked' : 'redrive in progress') : status;
  return html`<span class="mark" data-status=${status}>${text}</span>`;
}
