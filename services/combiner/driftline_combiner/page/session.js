// What is asked of the service.

export const ask = (path) => fetch(path);

export async function getJson(path) {
  const answer = await ask(path);
  if (!answer.ok) throw new Error(`${path}: ${answer.status}`);
  return answer.json();
}
