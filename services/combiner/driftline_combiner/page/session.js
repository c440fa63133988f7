// What is asked of the service. Where the browser's session has ended, it is led to the login, and after that back to this view.

// A second navigation would break the first off, and several answers come at once.
let leaving = false;

export async function ask(path) {
  const answer = await fetch(path);
  if (answer.status === 401) signIn();
  return answer;
}

export async function getText(path) {
  const answer = await ask(path);
  if (!answer.ok) throw new Error(`${path}: ${answer.status}`);
  return answer.text();
}

export const getJson = async (path) => JSON.parse(await getText(path));

// Relative to the service's own root, so that it also leads there behind a proxy's prefix. A frame stays as it is: no login
// may be shown in another page.
function signIn() {
  if (leaving || window.top !== window) return;
  leaving = true;
  const root = new URL(".", document.baseURI).href, wanted = location.href.slice(root.length);
  location.replace(`login?${new URLSearchParams({ next: wanted })}`);
}
