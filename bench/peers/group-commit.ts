/**
 * Group commit: what arrives while others are being applied is applied together, next. No timer: a
 * single item is applied at once, and a flood of them makes large groups.
 */

/** Bounds of the groups. */
export interface GroupCommitOptions {
  readonly groupsAtOnce: number;
  readonly itemsPerGroup: number;
}

interface Waiting<Item> {
  readonly item: Item;
  readonly resolve: () => void;
  readonly reject: (reason: Error) => void;
}

/** A function that takes one item and returns when its group has been applied, or throws as that did. */
export function createGroupCommit<Item>(
  applyAll: (items: readonly Item[]) => Promise<void>,
  { groupsAtOnce, itemsPerGroup }: GroupCommitOptions,
): (item: Item) => Promise<void> {
  const queue: Waiting<Item>[] = [];
  let running = 0;

  const work = async (): Promise<void> => {
    // What arrives in the same turn of the event loop belongs to the same group.
    await new Promise((resolve) => setImmediate(resolve));
    while (queue.length > 0) await applyGroup(queue.splice(0, itemsPerGroup), applyAll);
    running -= 1;
  };
  return (item) =>
    new Promise((resolve, reject) => {
      queue.push({ item, resolve, reject });
      if (running === groupsAtOnce) return;
      running += 1;
      void work();
    });
}

async function applyGroup<Item>(
  group: readonly Waiting<Item>[],
  applyAll: (items: readonly Item[]) => Promise<void>,
): Promise<void> {
  try {
    await applyAll(group.map(({ item }) => item));
    for (const { resolve } of group) resolve();
  } catch (error) {
    for (const { reject } of group) reject(error as Error);
  }
}
