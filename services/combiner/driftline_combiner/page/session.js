// What is asked of the service. Where the browser's session has ended, it is led to the login, and after that back to this view.

export async function ask(path) {
  const answer = await fetch(path);
  if (answer.status === 401) signIn();
  return answer;
}

export async function getJson(path) {
  const answer = await ask(path);
  if (!answer.ok) throw new Error(`${path}: ${answer.status}`);
  return answer.json();
}

// Relative to the service's own root, so that it also leads there behind a proxy's prefix. A frame stays as it is: no login
// may be shown in another page.
function signIn() {
  if (window.top !== window) return;
  const root = new URL(".", document.baseURI).href, wanted = location.href.slice(root.length);
  location.replace(`login?${new URLSearchParams({ next: wanted })}`);
}
