/** Confirmation dialogs. */
import { html, nothing, render } from 'lit-html';
import { fieldOf } from './view';

/** What to ask. */
export interface Question {
  readonly title: string;
  readonly text: string;
  /** Label of the confirming button. */
  readonly action: string;
  readonly dangerous?: boolean;
  /** Label of a required text; without it, no text is asked for. */
  readonly reason?: string;
}

const longestReason = 500;
// Before the reason in what the dialog returns; Escape and Cancel return without.
const goesOn = 'yes:';

/** Asks. Returns the given text (empty without one) on confirmation, undefined on cancellation. */
export async function ask(question: Question): Promise<string | undefined> {
  const dialog = document.createElement('dialog');
  dialog.setAttribute('aria-labelledby', 'question-title');
  document.body.append(dialog);
  const goOn = (event: SubmitEvent): void => {
    event.preventDefault();
    dialog.close(`${goesOn}${fieldOf(event, 'reason')}`);
  };
  // An empty reason is none, also one of spaces.
  const pattern = '.*\\S.*';
  render(
    html`<form @submit=${goOn}>
      <h2 id="question-title">${question.title}</h2>
      <p>${question.text}</p>
      ${
        question.reason === undefined
          ? nothing
          : html`<label for="question-reason">${question.reason}</label>
              <input
                id="question-reason"
                name="reason"
                required
                pattern=${pattern}
                maxlength=${longestReason}
                autocomplete="off"
              />`
      }
      <div class="buttons">
        <button type="button" @click=${() => dialog.close('')}>Cancel</button>
        <button type="submit" class=${question.dangerous === true ? 'dangerous' : 'primary'}>
          ${question.action}
        </button>
      </div>
    </form>`,
    dialog,
  );
  dialog.showModal();
  await new Promise((resolve) => dialog.addEventListener('close', resolve, { once: true }));
  dialog.remove();
  return dialog.returnValue.startsWith(goesOn)
    ? dialog.returnValue.slice(goesOn.length)
    : undefined;
}
