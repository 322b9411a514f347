/**
 * The messages of one topic that wait or are in flight, and which of them may go into one request. No
 * I/O: the topic's sender puts in and takes out.
 */
import type { Message } from 'kafkajs';
import type { KafkaUnavailableError } from './sender-errors';

/** The partition and offset of an acknowledged message. */
export interface Delivery {
  readonly partition: number;
  readonly offset: number;
}

/**
 * One call's messages to a topic. It settles once none of them waits or is in flight: with the
 * deliveries in the order of the call, or with the first failure.
 */
export class Submission {
  private readonly deliveries: Delivery[] = [];
  private failure: Error | undefined;
  private open: number;

  constructor(
    size: number,
    private readonly resolve: (deliveries: Delivery[]) => void,
    private readonly reject: (error: Error) => void,
  ) {
    this.open = size;
  }

  /** The message at this index of the call is acknowledged. */
  deliver(index: number, delivery: Delivery): void {
    this.deliveries[index] = delivery;
    this.settleOne();
  }

  /** A message failed, or is not sent since one before it has failed. */
  fail(error: Error): void {
    this.failure ??= error;
    this.settleOne();
  }

  private settleOne(): void {
    this.open -= 1;
    if (this.open > 0) return;
    if (this.failure === undefined) this.resolve(this.deliveries);
    else this.reject(this.failure);
  }
}

/** A message of a call. */
export interface QueuedMessage {
  readonly submission: Submission;
  /** Its place in the call. */
  readonly index: number;
  readonly message: Message;
  /** Of key, value and headers. */
  readonly bytes: number;
  /** Undefined until the topic's partitions are known. */
  partition: Partition | undefined;
}

/** What is known of a partition. */
export interface Partition {
  readonly id: number;
  /** The leader's node ID; below 0 when there is none. */
  leader: number;
  /** Its messages go without those of other partitions, since a request with them has failed. */
  isAlone: boolean;
  /** Most messages in its next request, while one of them is too large. */
  limit: number;
  /** How many messages at the front have been in a failed request. */
  suspects: number;
  /** Only a later generation of the producer may carry its messages. */
  afterGeneration: number;
  /** Why its messages are refused, and until when (ms since the epoch). */
  refusal: { readonly error: KafkaUnavailableError; readonly until: number } | undefined;
  /** Why its messages are refused as long as there is no later generation. */
  outage: KafkaUnavailableError | undefined;
}

/** Messages in flight, of one partition or of several with the same leader. */
export interface SendRequest {
  readonly messages: readonly QueuedMessage[];
  readonly partitions: ReadonlySet<Partition>;
  /** Undefined for a partition alone. */
  readonly leader: number | undefined;
  /** It takes so long that messages behind it are refused. */
  isStalled: boolean;
}

export class SendQueue {
  private waiting: QueuedMessage[] = [];
  private readonly partitions = new Map<number, Partition>();
  private readonly inFlight = new Set<SendRequest>();

  /** @param maxRequestBytes most bytes of keys, values and headers in one request; one message may exceed it alone */
  constructor(private readonly maxRequestBytes: number) {}

  get isEmpty(): boolean {
    return this.waiting.length === 0 && this.inFlight.size === 0;
  }

  get all(): readonly Partition[] {
    return [...this.partitions.values()];
  }

  /** The partition, made known if it is new. */
  partition(id: number, leader: number): Partition {
    const known = this.partitions.get(id);
    if (known !== undefined) return known;
    const partition: Partition = {
      id,
      leader,
      isAlone: false,
      limit: Infinity,
      suspects: 0,
      afterGeneration: 0,
      refusal: undefined,
      outage: undefined,
    };
    this.partitions.set(id, partition);
    return partition;
  }

  add(message: QueuedMessage): void {
    this.waiting.push(message);
  }

  /** The waiting messages whose partition is not known yet. */
  unassigned(): QueuedMessage[] {
    return this.waiting.filter(({ partition }) => partition === undefined);
  }

  /** The request in flight behind which the partition's messages wait. */
  requestAhead(partition: Partition): SendRequest | undefined {
    for (const request of this.inFlight) {
      if (request.partitions.has(partition)) return request;
      if (!partition.isAlone && request.leader === partition.leader) return request;
    }
    return undefined;
  }

  /**
   * Takes the next request that this generation may carry: the first waiting message that can leave, and
   * what else may go with it. Undefined when there is none now.
   */
  take(generation: number): SendRequest | undefined {
    const mayLeave = (partition: Partition): boolean =>
      partition.afterGeneration < generation && this.requestAhead(partition) === undefined;
    const first = this.waiting.find(
      ({ partition }) => partition !== undefined && mayLeave(partition),
    )?.partition;
    if (first === undefined) return undefined;
    const together = first.isAlone
      ? new Set([first])
      : new Set(
          this.all.filter(
            (each) => !each.isAlone && each.leader === first.leader && mayLeave(each),
          ),
        );
    const messages = this.takeMessages(together, first.isAlone ? first.limit : Infinity);
    const request: SendRequest = {
      messages,
      partitions: new Set(messages.map(({ partition }) => partition!)),
      leader: first.isAlone ? undefined : first.leader,
      isStalled: false,
    };
    this.inFlight.add(request);
    return request;
  }

  /** The request is no longer in flight. */
  land(request: SendRequest): void {
    this.inFlight.delete(request);
  }

  /** Messages of a failed request wait again, in front of all others. */
  putBack(messages: readonly QueuedMessage[]): void {
    this.waiting = [...messages, ...this.waiting];
  }

  /** Takes those waiting messages out that the condition is true for. */
  remove(condition: (message: QueuedMessage) => boolean): QueuedMessage[] {
    const removed = this.waiting.filter(condition);
    if (removed.length > 0) this.waiting = this.waiting.filter((each) => !condition(each));
    return removed;
  }

  private takeMessages(together: ReadonlySet<Partition>, limit: number): QueuedMessage[] {
    const taken: QueuedMessage[] = [];
    const left: QueuedMessage[] = [];
    let bytes = 0;
    let isFull = false;
    for (const each of this.waiting) {
      const belongs = each.partition !== undefined && together.has(each.partition);
      // What does not fit ends the request: a later, smaller message must not overtake it.
      if (belongs && taken.length > 0) {
        isFull ||= taken.length >= limit || bytes + each.bytes > this.maxRequestBytes;
      }
      if (belongs && !isFull) {
        taken.push(each);
        bytes += each.bytes;
      } else {
        left.push(each);
      }
    }
    this.waiting = left;
    return taken;
  }
}
