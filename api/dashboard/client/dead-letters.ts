/** The dead letters: groups of them first, then the list of a group, or of all. */
import { html, nothing } from 'lit-html';
import type { DeadLetter, DeadLetterGroups, Page } from './api-types';
import { groupActions, groupOf, groupTable, type ChosenGroup } from './dead-letter-groups';
import { formatCount, formatTime } from './format';
import { poll } from './polling';
import type { Session } from './session';
import { choices, panel, reading, type Content, type View } from './view';

const statuses = [
  ['parked', 'Parked'],
  ['redriven', 'Redriven'],
  ['discarded', 'Discarded'],
  ['all', 'All'],
] as const;

const periods = [
  ['all', 'Any time'],
  ['day', '24 hours'],
  ['hour', '1 hour'],
] as const;

const hours = { day: 24, hour: 1 } as const;

/** Opens the groups and all dead letters, or those of the group that the address names. */
export function openDeadLetters(session: Session, query: URLSearchParams): View {
  const { api, redraw } = session;
  const group = groupOf(query);
  let status: DeadLetter['status'] | 'all' = 'parked';
  let period: (typeof periods)[number][0] = 'all';
  let since: string | undefined;
  let limit = 20;
  const filter = (): Record<string, string> => ({
    ...group,
    ...(since === undefined ? {} : { since }),
  });
  const filterQuery = (): URLSearchParams =>
    new URLSearchParams({ ...filter(), ...(status === 'all' ? {} : { status }) });
  const groups = poll(
    3_000,
    () => api.get<DeadLetterGroups>(`/v1/dead-letters/groups?${filterQuery()}`),
    redraw,
  );
  const list = poll(
    3_000,
    () => api.get<Page<DeadLetter>>(`/v1/dead-letters?limit=${limit}&${filterQuery()}`),
    redraw,
  );
  const refresh = async (): Promise<void> => {
    await Promise.all([groups.refresh(), list.refresh(), session.status.refresh()]);
  };
  const chooseStatus = (chosen: typeof status): void => {
    status = chosen;
    void refresh();
  };
  const choosePeriod = (chosen: typeof period): void => {
    period = chosen;
    // Fixed when it is chosen, so that a command means what is shown.
    since =
      chosen === 'all' ? undefined : new Date(Date.now() - hours[chosen] * 3_600_000).toISOString();
    void refresh();
  };
  const more = (): void => {
    limit = 100;
    void list.refresh();
  };
  const filters = (): Content => [
    choices('Which', statuses, status, chooseStatus),
    choices('Parked within', periods, period, choosePeriod),
  ];
  const actions = groupActions(session, refresh);
  const groupPanel = (): Content =>
    group === undefined
      ? panel(
          'dead-letter-groups',
          'Groups',
          html`<p class="note">
              Messages that are not valid events, or whose effects can never be applied. Each is
              kept byte for byte until it is redriven or discarded.
            </p>
            ${reading(groups, groupTable)}`,
          html`<div class="buttons">${filters()}</div>`,
        )
      : panel(
          'dead-letter-group',
          group.reason,
          reading(groups, (found) => [
            facts(group, found),
            status === 'parked' ? actions.render(filter(), found.count) : nothing,
          ]),
          html`<div class="buttons">${filters()}</div>`,
        );
  return {
    section: 'dead-letters',
    title: 'Dead letters',
    render: () =>
      html`${
        group === undefined
          ? nothing
          : html`<p class="back"><a href="#/dead-letters">All dead letters</a></p>`
      }
      ${groupPanel()}
      ${panel(
        'dead-letters',
        group === undefined ? 'Dead letters' : 'Dead letters of this group',
        reading(list, (page) => table(page, status, limit < 100 ? more : undefined)),
      )}`,
    close() {
      groups.stop();
      list.stop();
    },
  };
}

function facts({ topic, producer }: ChosenGroup, { count, items }: DeadLetterGroups): Content {
  const [found] = items;
  const seen =
    found === undefined
      ? ''
      : `, first seen ${formatTime(found.firstSeenAt)}, last ${formatTime(found.lastSeenAt)}`;
  const from = producer === '' ? 'a producer that the messages do not name' : producer;
  return html`<p class="note" data-count=${count}>
    ${formatCount(count)} on ${topic} from ${from}${seen}
  </p>`;
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

/** The status of a dead letter as a badge; of a redriven one, what became of it. */
export function statusOf({
  status,
  redrivingSince,
  outcome,
  parkedAgainAs,
}: Pick<DeadLetter, 'status' | 'redrivingSince' | 'outcome' | 'parkedAgainAs'>): Content {
  if (outcome === 'parked-again') {
    const link = html`<a href=${`#/dead-letters/${parkedAgainAs}`}
      >dead letter ${parkedAgainAs}</a
    >`;
    return html`<span class="mark" data-status=${outcome}>parked again as ${link}</span>`;
  }
  if (outcome !== null) {
    const text = outcome === 'handled' ? 'handled' : 'redriven, not handled yet';
    return html`<span class="mark" data-status=${outcome}>${text}</span>`;
  }
  const text = redrivingSince === null ? status : 'redrive in progress';
  return html`<span class="mark" data-status=${status}>${text}</span>`;
}
