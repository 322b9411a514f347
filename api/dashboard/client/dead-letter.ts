/** One dead letter: its message byte for byte, what is wrong with it, and what can be done. */
import { html, nothing, type TemplateResult } from 'lit-html';
import type {
  CheckedDeadLetter,
  DeadLetterWithMessage,
  EncodedBytes,
  Header,
  Redriven,
} from './api-types';
import { bytesAsText, decodeBytes, formatCount, formatTime, hexDump } from './format';
import { unlessMissing } from './not-found';
import { messageOf, poll } from './polling';
import { ask } from './question';
import { offsetsOf, statusOf } from './dead-letters';
import { sayWhetherParsed } from './dead-letter-groups';
import type { Session } from './session';
import { facts, hrefOf, panel, reading, workflowLink, type Content, type View } from './view';

/** Opens a dead letter. */
export function openDeadLetter(session: Session, id: number): View {
  const { api, redraw } = session;
  const path = `/v1/dead-letters/${id}`;
  const letter = poll(3_000, () => api.get<DeadLetterWithMessage>(path), redraw);
  let whole = false;
  let result: { readonly text: string; readonly state: 'done' | 'failed' } | undefined;

  const act = async (work: () => Promise<string>): Promise<void> => {
    try {
      result = { text: await work(), state: 'done' };
    } catch (error) {
      result = { text: messageOf(error), state: 'failed' };
    }
    await Promise.all([letter.refresh(), session.status.refresh()]);
    redraw();
  };
  const redrive = async (): Promise<void> => {
    const again = letter.data?.status !== 'parked';
    const answer = await ask({
      title: `Redrive dead letter ${id}?`,
      text: 'The message is sent back to its topic unchanged. If it fails again, it is parked as a new dead letter. An event that was already handled has no further effect.',
      action: 'Redrive',
    });
    if (answer === undefined) return;
    await act(async () => {
      const { sentTo } = await api.post<Redriven>(`${path}/redrive`, { again });
      return sentTo === null
        ? 'Already sent back by another request.'
        : `Sent back to ${sentTo.topic}/${sentTo.partition} at ${sentTo.offset}.`;
    });
  };
  const discard = async (): Promise<void> => {
    const reason = await ask({
      title: `Discard dead letter ${id}?`,
      text: 'It is kept on record with your reason and is not retried.',
      action: 'Discard',
      dangerous: true,
      reason: 'Reason',
    });
    if (reason === undefined) return;
    await act(async () => {
      await api.post(`${path}/discard`, { reason });
      return 'Discarded.';
    });
  };

  const check = (): Promise<void> =>
    act(async () => sayWhetherParsed(await api.get<CheckedDeadLetter>(`${path}/check`)));

  const actions = ({ status, redrivingSince, lastOffset }: DeadLetterWithMessage): Content =>
    html`<div class="buttons">
        <button type="button" data-act="check" @click=${() => void check()}>
          Would it parse now?
        </button>
        <button
          type="button"
          data-act="redrive"
          ?disabled=${redrivingSince !== null || lastOffset !== null}
          @click=${() => void redrive()}
        >
          ${status === 'parked' ? 'Redrive' : 'Redrive again'}
        </button>
        ${
          status === 'parked'
            ? html`<button
                type="button"
                class="dangerous"
                data-act="discard"
                @click=${() => void discard()}
              >
                Discard
              </button>`
            : nothing
        }
      </div>
      <p class="outcome" role="status" data-state=${result?.state ?? 'none'}>
        ${result?.text ?? ''}
      </p>`;
  const showWhole = (): void => {
    whole = true;
    redraw();
  };
  return {
    section: 'dead-letters',
    title: `Dead letter ${id}`,
    render: () =>
      html`<p class="back"><a href="#/dead-letters">All dead letters</a></p>
        ${unlessMissing(letter, `No dead letter ${id}`, () =>
          reading(
            letter,
            (found) => html`
              <div class="title">
                <h2>Dead letter ${id}</h2>
                ${statusOf(found)}
              </div>
              ${panel('dead-letter', 'Reason', [problem(found), actions(found)])}
              <div class="columns">
                <div class="main-column">
                  ${panel('value', 'Value', bytes('Value', found.value, whole, showWhole))}
                  ${panel('headers', 'Headers', headers(found))}
                </div>
                <div class="side-column">${panel('facts', 'Facts', factsOf(session, found))}</div>
              </div>
            `,
          ),
        )}`,
    close: () => letter.stop(),
  };
}

function problem({ reason, detail }: DeadLetterWithMessage): Content {
  return html`<p class="problem"><span class="reason">${reason}</span> ${detail}</p>`;
}

// A message may have 1 MiB: show its beginning.
const shownBytes = 2_048;

function bytes(
  name: string,
  encoded: EncodedBytes | null,
  whole: boolean,
  onWhole: () => void,
): TemplateResult {
  if (encoded === null) return html`<p class="empty">None.</p>`;
  const all = decodeBytes(encoded);
  const shown = whole ? all : all.subarray(0, shownBytes);
  const perLine = matchMedia('(max-width: 640px)').matches ? 8 : 16;
  return html`<p class="note">
      ${formatCount(all.length)}
      bytes${shown.length < all.length ? `, the first ${formatCount(shown.length)} shown` : ''}
    </p>
    <h3>As text</h3>
    <pre tabindex="0" class="text" aria-label=${`${name} as text`}>${bytesAsText(shown)}</pre>
    <h3>In hexadecimal</h3>
    <pre tabindex="0" class="hex" aria-label=${`${name} in hexadecimal`}>
${hexDump(shown, perLine)}</pre>
    ${
      shown.length < all.length
        ? html`<button type="button" class="more" @click=${onWhole}>Show all</button>`
        : nothing
    }`;
}

function headers({ headers: list }: DeadLetterWithMessage): Content {
  if (list.length === 0) return html`<p class="empty">None.</p>`;
  return html`<div class="scrolling" role="region" aria-label="Headers of the message" tabindex="0">
    <table>
      <thead>
        <tr>
          <th scope="col">Name</th>
          <th scope="col">Value</th>
        </tr>
      </thead>
      <tbody>
        ${list.map(
          (header) =>
            html`<tr>
              <th scope="row" class="id">${headerName(header)}</th>
              <td class="id">${headerText(header)}</td>
            </tr>`,
        )}
      </tbody>
    </table>
  </div>`;
}

function headerName({ name, nameBase64 }: Header): string {
  return nameBase64 === undefined ? name : hexDump(decodeBytes({ base64: nameBase64 }), 16);
}

function headerText({ text, base64 }: Header): Content {
  if (text !== undefined) return text;
  if (base64 !== undefined) return hexDump(decodeBytes({ base64 }), 16);
  return html`<span class="empty">null</span>`;
}

function factsOf(session: Session, letter: DeadLetterWithMessage): Content {
  const { key, eventId, tries, redrivenFrom, parkedAgainAs } = letter;
  const rows: (readonly [string, Content])[] = [
    ['Source', `${letter.topic}/${letter.partition} at ${offsetsOf(letter)}`],
    ['Key', key === null ? 'none' : bytesAsText(decodeBytes(key))],
    [
      'Event',
      eventId === null
        ? 'unreadable'
        : html`<a class="id" href=${hrefOf('event', eventId)}>${eventId}</a>`,
    ],
    ['Producer', letter.producer ?? 'unknown'],
    ['Produced', formatTime(letter.producedAt)],
    ['Parked', html`${formatTime(letter.parkedAt)} ${workflowLink(session, letter.workflowId)}`],
    ['Tries', formatCount(tries)],
    ['Copied', letter.copied ? 'to the dead-letter topic' : (letter.copyError ?? 'not yet')],
  ];
  if (redrivenFrom !== null) {
    rows.push([
      'Redriven from',
      html`<a href=${`#/dead-letters/${redrivenFrom}`}>Dead letter ${redrivenFrom}</a>`,
    ]);
  }
  if (parkedAgainAs !== null) {
    rows.push([
      'Parked again as',
      html`<a href=${`#/dead-letters/${parkedAgainAs}`}>Dead letter ${parkedAgainAs}</a>`,
    ]);
  }
  if (letter.resolvedAt !== null) {
    rows.push(['Settled', `${formatTime(letter.resolvedAt)} by ${letter.resolvedBy ?? 'unknown'}`]);
  }
  if (letter.note !== null) rows.push(['Note', letter.note]);
  return facts(rows);
}
