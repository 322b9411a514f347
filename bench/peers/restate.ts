/**
 * Restate as a collector: its server reads Kafka and invokes the handler below, which gives the event
 * its effects. Each record is an invocation of its own; those of a service run in parallel.
 * https://docs.restate.dev/services/invocation/kafka
 *
 * What Restate's examples offer for batches is an object that gathers items in its state. It has two
 * invocations for each event instead of one, and was slower here than not gathering at all:
 * https://github.com/restatedev/examples/blob/main/typescript/patterns-use-cases/src/batching/batcher.ts
 * So the events are gathered in the process instead, without a trace in Restate: an invocation is over
 * when the group that its event is in has been applied. The separate Kafka integration of Restate comes
 * as a container image only, and makes an invocation of each record as well:
 * https://docs.restate.dev/services/integrations/kafka
 */
import './promise-with-resolvers';
import { once } from 'node:events';
import http2 from 'node:http2';
import type { AddressInfo } from 'node:net';
import * as restate from '@restatedev/restate-sdk';
import type { ReceivedEvent } from '../../events/received';
import { eventTopics } from '../../events/topics';
import { runProcess } from '../../platform/process/lifecycle';
import { receiveEvent } from '../received-event';
import { createEffects, type ApplyEffects } from './effects';
import { readPeerMode } from './mode';
import { startRestateServer } from './restate-server';

void runProcess('bridge', async (context) => {
  const { config, onStop } = context;
  const apply = createEffects('restate', readPeerMode(), context);
  const server = await startRestateServer(config.KAFKA_BROKERS, context);
  const handler = restate.createEndpointHandler({ services: [collector(apply)] });
  const endpoint = http2.createServer(handler).listen(0, '127.0.0.1');
  onStop('the endpoint', async () => endpoint.close());
  await once(endpoint, 'listening');
  await server.registerDeployment((endpoint.address() as AddressInfo).port);
  for (const topic of eventTopics) {
    await server.subscribe({ topic, handler: 'collector/handle', groupId: config.BRIDGE_GROUP_ID });
  }
  process.send?.({ ready: true });
});
/** A service handler, since handlers of services run side by side, whatever their events' keys. */
function collector(apply: ApplyEffects) {
  return restate.service({
    name: 'collector',
    handlers: {
      handle: restate.handlers.handler(
        { input: restate.serde.binary },
        // The effects are applied as they are, without `context.run`: they can be repeated, so that a
        // journal of them would cost and bring nothing.
        async (context: restate.Context, value: Uint8Array): Promise<void> => {
          await apply(receive(context.request().headers, value));
        },
      ),
    },
  });
}

function receive(headers: ReadonlyMap<string, string>, value: Uint8Array): ReceivedEvent {
  const header = (name: string): string => headers.get(`kafka.${name}`) ?? '';
  return receiveEvent(header('topic'), Number(header('partition')), {
    key: Buffer.from(header('key'), 'base64'),
    value: Buffer.from(value.buffer, value.byteOffset, value.byteLength),
    offset: header('offset'),
    timestamp: header('timestamp'),
  });
}
