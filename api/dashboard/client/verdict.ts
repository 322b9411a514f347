/** The verdict on the system: a badge in the header, and on every page a banner with what is wrong and what to do. */
import { html, nothing } from 'lit-html';
import type { Status } from './api-types';
import { formatClock, formatTime } from './format';
import type { Session } from './session';
import { runbookLink, type Content } from './view';

/** What the page knows of the system; `checking` until it is first told. */
type KnownVerdict = Status['verdict'] | 'checking';

const labels: Readonly<Record<KnownVerdict, string>> = {
  ok: 'OK',
  degraded: 'Degraded',
  unavailable: 'Unavailable',
  unknown: 'Unknown',
  checking: 'Checking',
};

/** How the system is, in a word. `data-state` has how the stream is. */
export function verdictBadge({ status, stream }: Session): Content {
  const verdict = verdictOf(status);
  return html`<p
    class="live"
    id="live"
    role="status"
    data-state=${stream.kind}
    data-verdict=${verdict}
  >
    <span class="dot" aria-hidden="true"></span
    ><span class="hidden">System: </span>${labels[verdict]}
  </p>`;
}

/** What is wrong, or cannot be told; nothing while all is well. */
export function verdictBanner(session: Session): Content {
  const lines = linesOf(session);
  const [first, ...more] = lines;
  // Its figures change all the time: what is read out is only which problems there are.
  const titles = lines.map(({ title }) => title).join('. ');
  return html`<p class="hidden" role="status">${titles}</p>
    ${
      first === undefined
        ? nothing
        : html`<section
            class="banner"
            id="banner"
            aria-label="State of the system"
            data-verdict=${verdictOf(session.status)}
          >
            ${show(first)}
            ${
              more.length === 0
                ? nothing
                : html`<details>
                    <summary>and ${more.length} more</summary>
                    ${more.map(show)}
                  </details>`
            }
          </section>`
    }`;
}

/** A line of the banner. */
interface Line {
  readonly code: string;
  readonly title: string;
  readonly text: string;
  readonly runbook?: string;
}

function verdictOf({ data, failure }: Session['status']): KnownVerdict {
  if (failure !== undefined) return 'unknown';
  return data?.verdict ?? 'checking';
}

function linesOf({ status, stream }: Session): Line[] {
  if (status.failure !== undefined) {
    const { since, message } = status.failure;
    const text = `since ${formatClock(since)}: ${message} What this page shows is of before.`;
    return [
      { code: 'API_SILENT', title: 'State of the system unknown', text, runbook: 'processdown' },
    ];
  }
  const { problems = [], unmeasured = [] } = status.data ?? {};
  return [
    ...problems.map(({ code, title, since, detail, runbook }) => ({
      ...{ code, title, text: `since ${formatTime(since)}: ${detail.replace(/\.$/, '')}.` },
      runbook,
    })),
    ...(stream.kind === 'interrupted'
      ? [
          {
            code: 'STREAM_INTERRUPTED',
            title: 'Live events interrupted',
            text: `since ${formatClock(stream.since)}: ${stream.reason}. Missed events follow after the reconnect.`,
          },
        ]
      : []),
    ...unmeasured.map(({ what, reason }) => ({
      ...{ code: 'UNMEASURED', title: `Not measured: ${what}`, text: `(${reason}).` },
    })),
  ];
}

function show({ code, title, text, runbook }: Line): Content {
  return html`<p data-problem=${code}>
    <strong>${title}</strong> ${text}
    ${code === 'VERIFICATION_DIFFERS' ? html`<a href="#/verification">What differs</a>` : nothing}
    ${runbook === undefined ? nothing : runbookLink(runbook)}
  </p>`;
}
