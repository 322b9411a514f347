/** How a pipeline is made to forget what it has read, or what its workflows were. */
import type { Admin, Message } from 'kafkajs';
import { eventTopics } from '../../events/topics';
import { readConsumerLag } from '../../platform/kafka/consumer-lag';
import { registerNamespace, type Stack } from '../../testkit/stack';
import { until } from '../../testkit/until';
import { readLog } from './log-reader';

/** What is started from now on works in a namespace of Temporal that knows nothing. */
export async function enterEmptyNamespace(stack: Stack): Promise<void> {
  const namespace = `${stack.config.TEMPORAL_NAMESPACE}_${Date.now()}`;
  await registerNamespace(stack.temporal, namespace);
  stack.later['TEMPORAL_NAMESPACE'] = namespace;
}

/** The namespace in which the pipeline works now. */
export function namespaceOf({ later, config }: Stack): string {
  return later['TEMPORAL_NAMESPACE'] ?? config.TEMPORAL_NAMESPACE;
}

/** Commits the ends of a topic for the bridge. @returns the messages that it will not see there */
export async function skipToEnd(stack: Stack, topic: string): Promise<Message[]> {
  const behind = await readConsumerLag(stack.kafka, stack.config.BRIDGE_GROUP_ID, [topic]);
  const partitions = behind.map(({ partition, end }) => ({ partition, offset: String(end) }));
  await moveGroup(stack, (admin, groupId) => admin.setOffsets({ groupId, topic, partitions }));
  const skipped = (await readLog(stack.kafka, topic)).filter(({ partition, offset }) =>
    behind.some(
      (each) =>
        each.partition === partition && offset >= (each.committed ?? 0) && offset < each.end,
    ),
  );
  return skipped.map(({ key, value }) => ({ key, value }));
}

/** Lets the bridges that start next begin with the first message there is. None may be running. */
export async function resetOffsets(stack: Stack): Promise<void> {
  for (const topic of eventTopics) {
    await moveGroup(stack, (admin, groupId) =>
      admin.resetOffsets({ groupId, topic, earliest: true }),
    );
  }
}

/** Moves the bridges' group. One that was killed stays in its group until its session ends. */
async function moveGroup(
  stack: Stack,
  move: (admin: Admin, groupId: string) => Promise<unknown>,
): Promise<void> {
  const admin = stack.kafka.admin();
  await admin.connect();
  try {
    await until('the group moves', () =>
      move(admin, stack.config.BRIDGE_GROUP_ID).then(() => true),
    );
  } finally {
    await admin.disconnect();
  }
}
