/**
 * Abort signals for one operation, derived from a longer-lived signal such as the process's own.
 *
 * `AbortSignal.any` leaks here: Node.js 20 keeps an entry for each call in the longer-lived signal. A
 * lint rule forbids it.
 */
import { setMaxListeners } from 'node:events';

/**
 * Runs `work` with its own controller, which `parent` aborts with the same reason. `parent` keeps no
 * reference once the work has ended.
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

// One listener for each parent: one for each concurrent operation would trigger Node.js' leak warning,
// and hide a real leak.
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
