// A few seconds of a call in which something was said.
import { toast } from "./say.js";

const clip = new Audio();

/** Play the clip at `address`, in place of one that plays. */
export function playClip(address) {
  clip.src = address;
  clip.play().catch(() => toast("This part of the call cannot be heard: its recording is gone.", "alarm"));
}

/** Whether one can be heard now. */
export const clipPlays = () => !clip.paused && !clip.ended;
