/** Groups of dead letters: the table of them, and what can be done with all of a group. */
import { html, type TemplateResult } from 'lit-html';
import type {
  CheckedDeadLetter,
  CheckReport,
  DeadLetterGroup,
  DeadLetterGroups,
  DiscardedMany,
  RedrivenMany,
} from './api-types';
import { formatCount, formatTime } from './format';
import { messageOf } from './polling';
import { ask } from './question';
import type { Session } from './session';
import type { Content } from './view';

/** A group as a filter has it: without a producer, that is empty. */
export interface ChosenGroup extends Readonly<Record<string, string>> {
  readonly reason: string;
  readonly topic: string;
  readonly producer: string;
}

/** The group that an address names, if any. */
export function groupOf(query: URLSearchParams): ChosenGroup | undefined {
  const [reason, topic, producer] = ['reason', 'topic', 'producer'].map((name) => query.get(name));
  if (!reason || !topic) return undefined;
  return { reason, topic, producer: producer ?? '' };
}

/** The groups, each of which opens its list. */
export function groupTable({ count, groupCount, items }: DeadLetterGroups): Content {
  if (items.length === 0) return html`<p class="empty">No dead letters.</p>`;
  return html`<div class="scrolling" role="region" aria-label="List of groups" tabindex="0">
      <table class="dead-letter-groups">
        <thead>
          <tr>
            <th scope="col">Group</th>
            <th scope="col">Topic</th>
            <th scope="col">Producer</th>
            <th scope="col">Count</th>
            <th scope="col">First seen</th>
            <th scope="col">Last seen</th>
          </tr>
        </thead>
        <tbody>
          ${items.map(
            (group) =>
              html`<tr>
                <th scope="row">
                  <a
                    class="reason"
                    href=${addressOf(group)}
                    aria-label=${`${group.reason} on ${group.topic} from ${group.producer ?? 'unknown'}`}
                    >${group.reason}</a
                  >
                </th>
                <td class="nowrap">${group.topic}</td>
                <td>${group.producer ?? html`<span class="empty">unknown</span>`}</td>
                <td>${formatCount(group.count)}</td>
                <td class="nowrap">${formatTime(group.firstSeenAt)}</td>
                <td class="nowrap">${formatTime(group.lastSeenAt)}</td>
              </tr>`,
          )}
        </tbody>
      </table>
    </div>
    <p class="note">
      ${formatCount(count)} in ${formatCount(groupCount)}
      groups${items.length < groupCount ? `, the largest ${formatCount(items.length)} shown` : ''}
    </p>`;
}

function addressOf({ reason, topic, producer }: DeadLetterGroup): string {
  return `#/dead-letters?${new URLSearchParams({ reason, topic, producer: producer ?? '' })}`;
}

/** The buttons for all that match a filter, and what became of the last one pressed. */
export function groupActions(session: Session, refresh: () => Promise<void>) {
  const { api, redraw } = session;
  let result: { readonly text: string; readonly state: 'done' | 'failed' } | undefined;

  const act = async (work: () => Promise<string>): Promise<void> => {
    try {
      result = { text: await work(), state: 'done' };
    } catch (error) {
      result = { text: messageOf(error), state: 'failed' };
    }
    await refresh();
    redraw();
  };
  const check = (filter: Readonly<Record<string, string>>): Promise<void> =>
    act(async () => {
      const query = new URLSearchParams({ ...filter, status: 'parked' });
      return sayHowManyParsed(await api.get<CheckReport>(`/v1/dead-letters/check?${query}`));
    });
  const redrive = async (filter: object, expected: number): Promise<void> => {
    const answer = await ask({
      title: `Redrive ${formatCount(expected)} dead letters?`,
      text: 'Their messages are sent back to their topics unchanged. What fails again is parked as a new dead letter. An event that was already handled has no further effect.',
      action: 'Redrive',
    });
    if (answer === undefined) return;
    await act(async () => {
      const body = { filter, expected };
      const done = await api.post<RedrivenMany>('/v1/dead-letters/redrive', body);
      const sent = `${formatCount(done.redriven + done.redrivenBefore)} sent back.`;
      return `${sent}${sayWhatIsLeft(done)} Under Redriven is what becomes of each.`;
    });
  };
  const discard = async (filter: object, expected: number): Promise<void> => {
    const reason = await ask({
      title: `Discard ${formatCount(expected)} dead letters?`,
      text: 'They are kept on record with your reason and are not retried.',
      action: 'Discard',
      dangerous: true,
      reason: 'Reason',
    });
    if (reason === undefined) return;
    await act(async () => {
      const body = { filter, expected, reason };
      const done = await api.post<DiscardedMany>('/v1/dead-letters/discard', body);
      return `${formatCount(done.discarded)} discarded.${sayWhatIsLeft(done)}`;
    });
  };
  return {
    render: (filter: Readonly<Record<string, string>>, count: number): TemplateResult =>
      html`<div class="buttons">
          <button
            type="button"
            data-act="check-all"
            ?disabled=${count === 0}
            @click=${() => void check(filter)}
          >
            Would they parse now?
          </button>
          <button
            type="button"
            data-act="redrive-all"
            ?disabled=${count === 0}
            @click=${() => void redrive(filter, count)}
          >
            Redrive all ${formatCount(count)}
          </button>
          <button
            type="button"
            class="dangerous"
            data-act="discard-all"
            ?disabled=${count === 0}
            @click=${() => void discard(filter, count)}
          >
            Discard all ${formatCount(count)}
          </button>
        </div>
        <p class="outcome" role="status" data-state=${result?.state ?? 'none'}>
          ${result?.text ?? ''}
        </p>`,
  };
}

function sayWhatIsLeft({ failed, left }: Pick<DiscardedMany, 'failed' | 'left'>): string {
  const [first] = failed;
  const notDone =
    first === undefined
      ? ''
      : ` ${formatCount(failed.length)} not, such as ${first.id}: ${first.detail}`;
  return left === 0 ? notDone : `${notDone} ${formatCount(left)} are left for another go.`;
}

function sayHowManyParsed({ matched, checked, parses, refusals }: CheckReport): string {
  const share = checked < matched ? `Of the oldest ${formatCount(checked)}, ` : '';
  const refused = refusals.map(
    ({ reason, count, exampleId, detail }) =>
      ` ${formatCount(count)} would be parked again as ${reason}, such as ${exampleId}: ${detail}`,
  );
  return `${share}${formatCount(parses)} would parse.${refused.join('')}`;
}

/** What the bridge would say of one message now. */
export function sayWhetherParsed(checked: CheckedDeadLetter): string {
  return checked.parses
    ? `Yes: it would be accepted as ${checked.type} ${checked.eventId}.`
    : `No: it would be parked again as ${checked.reason}. ${checked.detail}`;
}
