/** Whether all figures add up: the last verification, rule by rule, and a button to verify now. */
import { html, nothing } from 'lit-html';
import type { Verification } from './api-types';
import { formatCount, formatDuration, formatTime } from './format';
import { messageOf, poll } from './polling';
import type { Session } from './session';
import { panel, reading, runbookLink, type Content, type View } from './view';

type Run = NonNullable<Verification['last']>;
type Check = Run['checks'][number];

/** Opens the view. */
export function openVerification({ api, redraw }: Session): View {
  let failure = '';
  let asking = false;
  const verification = poll(2_000, () => api.get<Verification>('/v1/verification'), redraw);
  const verifyNow = async (): Promise<void> => {
    asking = true;
    redraw();
    try {
      await api.post('/v1/verification');
      failure = '';
    } catch (error) {
      failure = messageOf(error);
    }
    await verification.refresh();
    asking = false;
    redraw();
  };
  const isUnderWay = (): boolean => asking || (verification.data?.running ?? null) !== null;
  const button = (): Content =>
    html`<button
      type="button"
      class="primary"
      data-act="verify"
      ?disabled=${isUnderWay()}
      @click=${() => void verifyNow()}
    >
      Verify now
    </button>`;
  return {
    section: 'overview',
    title: 'Verification',
    render() {
      const last = verification.data?.last ?? null;
      return html`<p class="back"><a href="#/">Overview</a></p>
        ${panel(
          'verification',
          'Verification',
          html`<p class="note">
              Compares shop, log and metrics in one snapshot, and blocks nobody. The nightly run and
              <code>npm run ops -- verify</code> are shown here, too.
            </p>
            ${reading(verification, summary)}
            ${failure === '' ? nothing : html`<p class="stale" role="alert">${failure}</p>`}`,
          button(),
        )}
        ${last === null || last.checks.length === 0 ? nothing : [differences(last), rules(last)]}`;
    },
    close: () => verification.stop(),
  };
}

function summary({ running, last }: Verification): Content {
  return html`<p class="fact" role="status" data-running=${running === null ? 'no' : 'yes'}>
      ${
        running === null
          ? ''
          : html`Under way since ${formatTime(running.startedAt)}, started by ${running.by} …`
      }
    </p>
    ${last === null ? html`<p class="fact">None has ended yet.</p>` : lastRun(last)}`;
}

const marks: Readonly<Record<Run['outcome'], string>> = {
  holds: 'all figures add up',
  differs: 'differs',
  incomplete: 'incomplete',
};

function lastRun({ by, startedAt, finishedAt, outcome, failure, checks }: Run): Content {
  const took = formatDuration(Date.parse(finishedAt) - Date.parse(startedAt));
  const violated = checks.filter(({ holds }) => !holds).length;
  const held =
    checks.length === 0
      ? ''
      : `${formatCount(checks.length - violated)} of ${formatCount(checks.length)} rules hold.`;
  return html`<p class="fact" data-outcome=${outcome}>
    <span class="mark" data-status=${outcome}>${marks[outcome]}</span>
    <span>${held} ${failure ?? ''}</span>
    <span class="where">Ended ${formatTime(finishedAt)}, took ${took}, started by ${by}.</span>
  </p>`;
}

function differences({ checks }: Run): Content {
  const violated = checks.filter(({ holds }) => !holds);
  if (violated.length === 0) return nothing;
  return panel(
    'verification-differences',
    'What differs',
    violated.map(difference),
    html`<p class="note">${runbookLink('verificationdiffers')}</p>`,
  );
}

function difference({ name, rule, differenceCount, differences: first }: Check): Content {
  const unit = differenceCount === 1 ? 'difference' : 'differences';
  const shown = differenceCount > first.length ? `, the first ${first.length} of which are` : '';
  return html`<section class="violated" data-check=${name}>
    <h3>${rule}</h3>
    <p class="where">${name}: ${formatCount(differenceCount)} ${unit}${shown}</p>
    <pre tabindex="0" aria-label=${`Differences of ${name}`}>
${first.map((row) => JSON.stringify(row)).join('\n')}</pre>
  </section>`;
}

function rules({ checks }: Run): Content {
  return panel(
    'verification-rules',
    'Rules',
    html`<div class="scrolling" role="region" aria-label="List of rules" tabindex="0">
      <table class="rules">
        <thead>
          <tr>
            <th scope="col">Rule</th>
            <th scope="col">Compared</th>
            <th scope="col">Outcome</th>
          </tr>
        </thead>
        <tbody>
          ${checks.map(
            ({ name, rule, holds, figures, differenceCount }) =>
              html`<tr data-check=${name} data-holds=${String(holds)}>
                <th scope="row">${rule}<span class="where">${name}</span></th>
                <td>${figuresInWords(figures)}</td>
                <td class="nowrap">
                  <span class="mark" data-status=${holds ? 'holds' : 'differs'}
                    >${holds ? 'holds' : `differs: ${formatCount(differenceCount)}`}</span
                  >
                </td>
              </tr>`,
          )}
        </tbody>
      </table>
    </div>`,
  );
}

/** `confirmedOrders: 3` as `confirmed orders 3`. */
function figuresInWords(figures: Check['figures']): string {
  return Object.entries(figures)
    .map(([name, figure]) => {
      const words = name
        .replaceAll('_', ' ')
        .replace(/[A-Z]/g, (letter) => ` ${letter.toLowerCase()}`);
      return `${words} ${formatCount(figure)}`;
    })
    .join(', ');
}
