// Masked numbers: "Reveal" asks the server, which checks the permission and writes it down.
import { post } from "./post.js";
import { toast } from "./say.js";

function ready(root) {
  for (const button of root.querySelectorAll("[data-reveal][hidden]")) button.hidden = false;
}

document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-reveal]");
  if (!button) return;
  event.preventDefault();
  event.stopPropagation();
  button.disabled = true;
  try {
    const { call, caller } = button.dataset;
    const { number } = await post(button.dataset.reveal, call ? { call } : { caller });
    const place = button.closest("[data-masked]").querySelector("[data-number]");
    place.textContent = number;
    place.tabIndex = -1;
    place.focus();
    button.remove();
  } catch (error) {
    toast(error.message, "alarm");
    button.disabled = false;
  }
});

ready(document);
document.addEventListener("console:added", (event) => ready(event.target));
