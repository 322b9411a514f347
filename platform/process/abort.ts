/**
 * Abort signals for one piece of work, under a signal that lives far longer, such as the process's own.
 *
 * `AbortSignal.any` is not for that: Node.js 20 keeps an entry for each call in the signal that lives on,
 * for ever. A lint rule forbids it.
 */
import { setMaxListeners } from 'node:events';

/**
 * Runs `work` with a controller of its own, which is aborted, for the same reason, when `parent` is.
 * Nothing of it stays behind in `parent` once the work has ended, however many works there have been.
 *
 * Any number of listeners may wait for the controller's signal: they end with the work.
 */
export async function withLinkedSignal<Result>(
  parent: AbortSignal,
  work: (linked: AbortController) => Promise<Result>,
): Promise<Result> {
  const linked = new AbortController();
  setMaxListeners(0, linked.signal);
  const unlink = link(parent, linked);
  try {
    return await work(linked);
  } finally {
    unlink();
  }
}

/** What is to be aborted with a signal. */
interface Links {
  readonly linked: Set<AbortController>;
  readonly abortAll: () => void;
}

// One listener for each parent: as many as there are works at once would look like a leak to Node.js,
// and hide a true one.
const linksOf = new WeakMap<AbortSignal, Links>();

function link(parent: AbortSignal, controller: AbortController): () => void {
  if (parent.aborted) {
    controller.abort(parent.reason);
    return () => undefined;
  }
  const { linked, abortAll } = linksOf.get(parent) ?? listenTo(parent);
  linked.add(controller);
  return () => {
    linked.delete(controller);
    if (linked.size > 0) return;
    parent.removeEventListener('abort', abortAll);
    linksOf.delete(parent);
  };
}

function listenTo(parent: AbortSignal): Links {
  const linked = new Set<AbortController>();
  const abortAll = (): void => linked.forEach((controller) => controller.abort(parent.reason));
  const links = { linked, abortAll };
  linksOf.set(parent, links);
  parent.addEventListener('abort', abortAll);
  return links;
}
