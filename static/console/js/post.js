// Posting to our own server: with the form token, and answers that say what went wrong.

/** The token of the page's forms. */
export function token() {
  return document.querySelector("[name=csrfmiddlewaretoken]")?.value ?? "";
}

/** Post fields; the answer's JSON. Throws an Error with a sentence for people. */
export async function post(address, fields = {}) {
  let answer;
  try {
    answer = await fetch(address, {
      method: "POST",
      body: new URLSearchParams(fields),
      headers: { "X-CSRFToken": token(), Accept: "application/json" },
    });
  } catch {
    throw new Error("The server cannot be reached. Try again.");
  }
  const isJson = answer.headers.get("Content-Type")?.includes("json");
  const content = isJson ? await answer.json() : {};
  if (answer.redirected || (answer.ok && !isJson)) throw new Error("You are signed out. Sign in again.");
  if (answer.ok) return content;
  throw new Error(content.error ?? { 403: "You may not do this.", 404: "It is not there any more." }[answer.status] ?? `It did not work (${answer.status}).`);
}
