/** A section of the runbook: what a problem means, how to see it, what to do, and when it is over. */
import { html } from 'lit-html';
import { poll } from './polling';
import { runbookBlocks, type Block, type Inline } from './runbook-text';
import type { Session } from './session';
import { panel, reading, type Content, type View } from './view';

/** Opens a section. @param anchor its heading in small letters, such as `outboxnotpublished` */
export function openRunbook({ redraw }: Session, anchor: string): View {
  // It changes with a release only, and then under another name.
  const text = poll(3_600_000, readRunbook, redraw);
  return {
    section: 'overview',
    title: 'What to do',
    render: () =>
      html`<p class="back"><a href="#/">Overview</a></p>
        ${reading(text, (runbook) => section(runbook, anchor))}`,
    close: () => text.stop(),
  };
}

async function readRunbook(): Promise<string> {
  const address = document.querySelector<HTMLElement>('#app')!.dataset['runbook']!;
  const response = await fetch(address, { signal: AbortSignal.timeout(10_000) });
  if (!response.ok) throw new Error('The runbook cannot be read. It is in docs/runbook.md, too.');
  return response.text();
}

function section(runbook: string, anchor: string): Content {
  const found = runbookBlocks(runbook, anchor);
  if (found === undefined) {
    return html`<p class="empty">
      The runbook has no section ${anchor}. All of it is in docs/runbook.md.
    </p>`;
  }
  return panel(
    'runbook',
    found.title,
    html`<ul class="runbook">
      ${found.blocks.map(item)}
    </ul>`,
  );
}

function item({ text, items }: Block): Content {
  const nested = items.map((each) => html`<li>${each.map(inline)}</li>`);
  return html`<li>
    <p>${text.map(inline)}</p>
    ${
      nested.length === 0
        ? ''
        : html`<ul>
            ${nested}
          </ul>`
    }
  </li>`;
}

function inline({ kind, text, anchor }: Inline): Content {
  if (anchor !== undefined) return html`<a href=${`#/runbook/${anchor}`}>${text}</a>`;
  if (kind === 'strong') return html`<strong>${text}</strong>`;
  if (kind === 'code') return html`<code>${text}</code>`;
  return kind === 'emphasis' ? html`<em>${text}</em>` : text;
}
