/** `changeLike`: likes or unlikes a product for a user, and publishes `LikeChanged`. */
import { proxyActivities } from '@temporalio/workflow';
import type { createLikeActivities } from '../../activities/commerce/likes';
import type { createPublishActivities } from '../../activities/commerce/publish';
import type { ChangeLike, LikeOutcome } from '../../events/commands';
import { localFirst, untilAcknowledged } from '../activity-policies';
import { decideThenPublish } from './decision';

const likes = localFirst<ReturnType<typeof createLikeActivities>>();
const publication = proxyActivities<ReturnType<typeof createPublishActivities>>(untilAcknowledged);

/** Changes the like once; returns when the event of a change is published. */
export async function changeLike(command: ChangeLike): Promise<LikeOutcome> {
  return decideThenPublish(
    () => likes.setLike(command),
    async (outcome) => {
      if (outcome.kind === 'unknown-product' || !outcome.changed) return;
      await publication.publishOutbox([{ topic: 'catalog-events', key: command.productId }]);
    },
  );
}
