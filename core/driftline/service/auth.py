"""What the header says; whoever reads it decides what it must say."""

from fastapi.security import HTTPBearer

READ = HTTPBearer(auto_error=False)
